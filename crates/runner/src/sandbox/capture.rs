//! Makes what a sandbox is durable, and gives its compute back.

use std::sync::Arc;
use std::time::Duration;

use engine::{Exit, Machine};
use wire::causes::chain;
use wire::guest::Request;
use wire::id::SandboxId;
use wire::node::{NodeError, NodeErrorCode};

use super::dial::dial;
use super::lifecycle::{CaptureFailure, Event};
use super::record::Record;
use super::stop::Farewell;
use super::talk::Talk;
use super::tear_down::pause as patience;
use super::waits::ended;
use crate::guest::Connection;
use crate::keep::Origin;
use crate::node::Node;

/// Requests that are under way have so long to end by themselves.
const DRAIN_BOUND: Duration = Duration::from_millis(500);
/// The agent has so long to part what goes on from those who wait for it, and to hang up.
const PART_BOUND: Duration = Duration::from_secs(10);
/// A machine whose checkpoint failed has so long to be seen to have ended of it.
const EXIT_GRACE: Duration = Duration::from_secs(1);
/// Steps between the engine's own: it is as durable as it will be.
const KEPT: &str = "kept";
/// … and its compute is gone.
const RELEASED: &str = "released";

/// Why a sandbox is not paused, and what became of it.
pub(super) struct NotCaptured {
    pub(super) error: NodeError,
    pub(super) failure: CaptureFailure,
}

/// Captures a machine that runs; it stands still afterwards. If that fails, it goes on, or has ended of it.
pub(super) async fn capture(
    node: Arc<Node>,
    record: Record,
    machine: Option<Machine>,
    farewell: Option<Farewell>,
    talk: Arc<Talk>,
) -> Result<(), NotCaptured> {
    let _talking = talk.begin(|| node.engine.wake(&record.id));
    let Err(error) = try_capture(&node, &record, &machine, farewell, &talk).await else { return Ok(()) };
    // What could not be kept for other reasons did it no harm.
    let grace = if error.code == NodeErrorCode::EngineFailed { EXIT_GRACE } else { Duration::ZERO };
    let exit = tokio::time::timeout(grace, ended(&machine)).await.ok();
    tracing::warn!(sandbox = %record.id, error = error.message, ?exit, "it could not be captured");
    Err(give_up(&node, &record.id, error, exit).await)
}

/// Lets those who ask end, and has the agent part from the rest and hang up. It is the agent that does: an agent that is
/// stopped with a connection open hears of no new one when it goes on (gVisor wakes nobody then who waits for events).
async fn part(connection: &Connection, talk: &Talk) -> Result<(), NodeError> {
    let _ = tokio::time::timeout(DRAIN_BOUND, talk.alone()).await;
    let parting = async {
        // An older agent does not know the request: there, what waits for a stream ends with it.
        let parted = connection.ask(&Request::Pause).await;
        tracing::debug!(?parted, "parting from the agent");
        connection.finish().await;
    };
    let late = |_| {
        let message = format!("its agent did not hang up within {} s", PART_BOUND.as_secs());
        NodeError::new(NodeErrorCode::GuestUnreachable, message)
    };
    tokio::time::timeout(PART_BOUND, parting).await.map_err(late)
}

async fn try_capture(
    node: &Node,
    record: &Record,
    machine: &Option<Machine>,
    farewell: Option<Farewell>,
    talk: &Talk,
) -> Result<(), NodeError> {
    let farewell = match (farewell, machine) {
        (Some(farewell), _) => farewell,
        (None, Some(machine)) => {
            let dialled = dial(node, machine, record, PART_BOUND).await;
            let unreachable = |evidence| NodeError::new(NodeErrorCode::GuestUnreachable, evidence);
            Farewell(dialled.map_err(unreachable)?)
        }
        (None, None) => return Err(NodeError::new(NodeErrorCode::EngineFailed, "its machine has ended")),
    };
    // Of a machine that has died nobody hears any more.
    tokio::select! {
        parted = part(&farewell.0, talk) => parted?,
        exit = ended(machine) => return Err(NodeError::new(NodeErrorCode::EngineFailed, exit.evidence)),
    }
    drop(farewell);
    let draft = kept(node, &record.id, |keep, id| keep.draft(id)).await?;
    let written = node.engine.checkpoint(&record.id, &draft).await;
    written.map_err(|error| NodeError::new(NodeErrorCode::EngineFailed, chain(&error)))?;
    let origin = origin(node, record);
    kept(node, &record.id, move |keep, id| keep.store(id, &origin)).await?;
    node.faults.reached(KEPT).await;
    node.faults.check(KEPT).map_err(|error| NodeError::new(NodeErrorCode::Internal, error.to_string()))
}

/// A sandbox that is not to be paused after all goes on, if it still can.
pub(super) async fn give_up(
    node: &Node,
    id: &SandboxId,
    mut error: NodeError,
    exit: Option<Exit>,
) -> NotCaptured {
    let failure = match (exit, node.engine.resume(id).await) {
        (None, Ok(())) => CaptureFailure::Refused,
        (Some(exit), _) => fatal(&error, exit.out_of_memory, &exit.evidence),
        (None, Err(stuck)) => fatal(&error, false, &chain(&stuck)),
    };
    if let Err(left) = kept(node, id, |keep, id| keep.remove(id)).await {
        tracing::warn!(sandbox = %id, error = left.message, "what was kept of it could not be removed");
    }
    if failure == CaptureFailure::Refused {
        error.message.push_str("; the sandbox runs on");
    }
    NotCaptured { error, failure }
}

fn fatal(error: &NodeError, out_of_memory: bool, seen: &str) -> CaptureFailure {
    CaptureFailure::Fatal { out_of_memory, evidence: format!("{}; {seen}", error.message) }
}

/// What must be the same when it wakes.
pub(super) fn origin(node: &Node, record: &Record) -> Origin {
    Origin {
        engine: node.engine.name().into(),
        engine_version: node.engine.version().into(),
        image: record.spec.image.clone(),
    }
}

/// Does something with what is kept, on a thread that may wait for the disk.
pub(super) async fn kept<T: Send + 'static>(
    node: &Node,
    id: &SandboxId,
    work: impl FnOnce(&crate::keep::Keep, &SandboxId) -> std::io::Result<T> + Send + 'static,
) -> Result<T, NodeError> {
    let (keep, id) = (node.keep.clone(), id.clone());
    let done = tokio::task::spawn_blocking(move || work(&keep, &id)).await;
    done.unwrap_or_else(|cut| Err(std::io::Error::other(cut))).map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => NodeErrorCode::StorageFull,
            _ => NodeErrorCode::Internal,
        };
        NodeError::new(code, format!("what the sandbox is cannot be kept on the node's disk: {error}"))
    })
}

/// Gives back what a sandbox takes of the host whose checkpoint is kept, after so many attempts that failed.
pub(super) async fn release(node: Arc<Node>, id: SandboxId, attempts: u32) -> Event {
    tokio::time::sleep(patience(attempts)).await;
    match node.engine.release(&id).await {
        Ok(()) => {
            node.faults.reached(RELEASED).await;
            Event::Released
        }
        Err(error) => {
            let evidence = chain(&error);
            tracing::error!(sandbox = %id, evidence, "its compute could not be given back; trying again");
            Event::ReleaseFailed(evidence)
        }
    }
}
