//! Asks what a sandbox started with to stop, before the machine goes from under it.

use std::sync::Arc;
use std::time::Duration;

use wire::guest::Request;
use wire::guest::boot::PROCESS_ID;
use wire::guest::process::ProcessCall;
use wire::id::SandboxId;
use wire::node::SandboxSpec;
use wire::sandbox::signal;

use super::talk::Talk;
use crate::guest::{Connection, GuestError};
use crate::node::Node;

/// From the signal on it has so long to end. An agent that does not answer has no longer either.
pub const STOP_BOUND: Duration = Duration::from_secs(2);

/// The last connection to a sandbox that is to end: who listens to its processes hears their last words. Closed with this.
pub(super) struct Farewell(pub(super) Connection);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The signal that asks what it starts with to stop, if there is one.
pub(super) fn stop_signal(spec: &SandboxSpec) -> Option<i32> {
    signal::number(spec.boot.as_ref()?.stop_signal.as_ref()?).ok()
}

/// Sends the signal and waits for the end of what it started with, a bounded time; neither of one that has ended.
pub(super) async fn stop(node: Arc<Node>, id: SandboxId, signal: i32, farewell: Farewell, talk: Arc<Talk>) {
    let _talking = talk.begin(|| node.engine.wake(&id));
    let stopped = tokio::time::timeout(STOP_BOUND, signal_and_wait(&farewell.0, signal)).await;
    tracing::debug!(sandbox = %id, signal, ?stopped, "asked to stop");
}

async fn signal_and_wait(connection: &Connection, signal: i32) -> Result<(), GuestError> {
    let id = || PROCESS_ID.to_owned();
    connection.ask(&Request::Process(ProcessCall::Signal { id: id(), signal })).await?;
    connection.ask(&Request::Process(ProcessCall::Wait { id: id() })).await?;
    Ok(())
}
