//! The way to a sandbox's agent: the first time, which claims it, and whenever the connection broke.

use std::sync::Arc;
use std::time::Duration;

use engine::Machine;
use wire::guest::{Claim, GENERATION, NodeHello};

use super::diagnosis::diagnose;
use super::lifecycle::Event;
use super::record::Record;
use crate::guest::Connection;
use crate::node::Node;
use wire::causes::chain;

/// The agent listens, and has not been greeted.
const DIALLED: &str = "dialled";
/// Below this share of a sandbox's memory, its agent starts to kill: one part in so many.
const MEMORY_RESERVE_PART: u64 = 32;
/// … but never with less left than this.
const MEMORY_RESERVE_BYTES_MIN: u64 = 24 * 1024 * 1024;

/// A connection to the agent, which is claimed with it if nobody has.
pub(super) async fn dial(
    node: &Node,
    machine: &Machine,
    record: &Record,
    bound: Duration,
) -> Result<Connection, String> {
    let stream = node.engine.dial_agent(machine, bound).await.map_err(|error| chain(&error))?;
    node.faults.reached(DIALLED).await;
    let (token, claim) = (record.token.clone(), Some(claim(node, record)));
    let hello = NodeHello { generation: GENERATION, token, claim, dial: None };
    tokio::select! {
        biased;
        // A dead machine does not hang up.
        exit = machine.exited() => Err(exit.evidence),
        opened = Connection::open(stream, hello, bound) => {
            opened.map(|(connection, _)| connection).map_err(|error| chain(&error))
        }
    }
}

fn claim(node: &Node, record: &Record) -> Claim {
    let memory_bytes = u64::from(record.spec.resources.memory_mib) * 1024 * 1024;
    Claim {
        hostname: record.id.to_string(),
        env: record.spec.env.clone(),
        user: record.spec.user.clone(),
        workdir: record.spec.workdir.clone(),
        processes_max: record.spec.resources.processes_max,
        memory_reserve_bytes: (memory_bytes / MEMORY_RESERVE_PART).max(MEMORY_RESERVE_BYTES_MIN),
        shims: node.engine.shims(),
    }
}

/// Another connection to the agent of a machine that seems to run; or what became of it.
pub(super) async fn redial(node: Arc<Node>, machine: Machine, record: Record) -> Result<Connection, Event> {
    match dial(&node, &machine, &record, node.pulse.silence_max).await {
        Ok(connection) => Ok(connection),
        Err(evidence) => Err(diagnose(&node, &machine, evidence).await),
    }
}
