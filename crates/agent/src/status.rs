//! How the inside is.

use std::sync::Arc;

use wire::guest::{Done, Outcome, Status};

use crate::agent::{Agent, Claimed};
use crate::{failure, proc};

/// What the agent knows of the inside.
pub async fn status(agent: &Agent, claimed: &Claimed) -> Outcome {
    let sandbox = Arc::clone(&claimed.sandbox);
    let looked = agent.files.start(None, move || {
        let counted = sandbox.limit.as_ref().and_then(|limit| limit.current());
        let processes =
            counted.unwrap_or_else(|| proc::descendants().iter().map(|process| process.threads).sum());
        Ok((processes, proc::memory(), proc::own_resident_bytes()))
    });
    let ended = looked.await?.await;
    let (processes, memory, agent_resident_bytes) =
        ended.map_err(|_| failure::of("/proc", rustix::io::Errno::IO))??;
    Ok(Done::Status(Status {
        agent_version: env!("CARGO_PKG_VERSION").into(),
        uptime_seconds: agent.started.elapsed().as_secs(),
        processes,
        requests: agent.requests.get(),
        memory_total_bytes: memory.total_bytes,
        memory_available_bytes: memory.available_bytes,
        agent_resident_bytes,
        memory_kills: claimed.guard.as_ref().map_or(0, |guard| guard.kills()),
    }))
}
