//! Writes down what a sandbox is, and makes it durable; then it goes on, or its compute is given back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Exit, Machine};
use wire::causes::chain;
use wire::guest::Request;
use wire::id::SandboxId;
use wire::node::{NodeError, NodeErrorCode, StepTime};
use wire::snapshot::Root;

use super::dial::dial;
use super::lifecycle::{CaptureFailure, Event};
use super::record::Record;
use super::stop::Farewell;
use super::talk::Talk;
use super::tear_down::pause as patience;
use super::waits::ended;
use crate::guest::Connection;
use crate::node::Node;
use crate::vault::{Files, about};

/// Requests that are under way have so long to end by themselves.
const DRAIN_BOUND: Duration = Duration::from_millis(500);
/// The agent has so long to part what goes on from those who wait for it, and to hang up.
const PART_BOUND: Duration = Duration::from_secs(10);
/// A machine whose checkpoint failed has so long to be seen to have ended of it.
const EXIT_GRACE: Duration = Duration::from_secs(1);
/// Steps between the engine's own: nobody talks to it any more.
const PARTED: &str = "parted";
/// … it is written down, and stands still.
const WRITTEN: &str = "written";
/// … and it is as durable as it will be.
const KEPT: &str = "kept";
/// … and its compute is gone.
pub(super) const RELEASED: &str = "released";

/// What is to become of a sandbox that is captured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Aim {
    /// It is paused.
    #[default]
    Pause,
    /// It ends.
    End,
    /// It goes on.
    GoOn,
}

/// What a sandbox was.
pub(super) struct Captured {
    /// As its engine wrote it.
    pub(super) files: Arc<Files>,
    /// As it is kept, unless it goes on: then that is still to be done, while it does.
    pub(super) kept: Option<(Root, u64)>,
    /// How long each step took until it was.
    pub(super) steps: Vec<StepTime>,
}

/// Why a sandbox is not captured, and what became of it.
pub(super) struct NotCaptured {
    pub(super) error: NodeError,
    pub(super) failure: CaptureFailure,
}

/// Captures a machine that runs; it stands still afterwards, unless it is to go on. If it fails, it goes on too, or has
/// ended of it.
pub(super) async fn capture(
    node: Arc<Node>,
    record: Record,
    machine: Option<Machine>,
    farewell: Option<Farewell>,
    talk: Arc<Talk>,
    aim: Aim,
) -> Result<Captured, NotCaptured> {
    let _talking = talk.begin(|| node.engine.wake(&record.id));
    let mut pace = Pace::begin();
    let captured = async {
        let files = write(&node, &record, &machine, farewell, &talk, &mut pace).await?;
        match aim {
            Aim::GoOn => go_on(&node, &record, files).await,
            Aim::Pause | Aim::End => keep(&node, &record, files, pace).await,
        }
    };
    let error = match captured.await {
        Ok(captured) => return Ok(captured),
        Err(error) => error,
    };
    // What could not be kept for other reasons did it no harm.
    let grace = if error.code == NodeErrorCode::EngineFailed { EXIT_GRACE } else { Duration::ZERO };
    let exit = tokio::time::timeout(grace, ended(&machine)).await.ok();
    tracing::warn!(sandbox = %record.id, error = error.message, ?exit, "it could not be captured");
    Err(give_up(&node, &record.id, error, exit).await)
}

/// Lets those who ask end, and has the agent part from the rest and hang up. It is the agent that does: one that was
/// stopped with a connection open has been seen to hear of no new one when it went on (on gVisor; whether for another
/// reason than that of `agent/src/epoll.rs` is not known).
async fn part(connection: &Connection, talk: &Talk) -> Result<(), NodeError> {
    let _ = tokio::time::timeout(DRAIN_BOUND, talk.alone()).await;
    let parting = async {
        // An older agent does not know the request: there, what waits for a stream ends with it.
        let parted = connection.ask(&Request::Pause { rejoinable: true }).await;
        tracing::debug!(?parted, "parting from the agent");
        connection.finish().await;
    };
    let late = |_| {
        let message = format!("its agent did not hang up within {} s", PART_BOUND.as_secs());
        NodeError::new(NodeErrorCode::GuestUnreachable, message)
    };
    tokio::time::timeout(PART_BOUND, parting).await.map_err(late)
}

/// Stops all that runs in a machine and has its engine write it down.
async fn write(
    node: &Node,
    record: &Record,
    machine: &Option<Machine>,
    farewell: Option<Farewell>,
    talk: &Talk,
    pace: &mut Pace,
) -> Result<Files, NodeError> {
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
    pace.step(PARTED);
    let files = node.vault.draft()?;
    let written = node.engine.checkpoint(&record.id, files.dir()).await;
    written.map_err(|error| NodeError::new(NodeErrorCode::EngineFailed, chain(&error)))?;
    pace.step(WRITTEN);
    reached(node, WRITTEN).await?;
    Ok(files)
}

async fn keep(node: &Node, record: &Record, files: Files, mut pace: Pace) -> Result<Captured, NodeError> {
    let files = Arc::new(files);
    let kept = node.vault.keep(&files, about(node, record)).await?;
    pace.step(KEPT);
    reached(node, KEPT).await?;
    Ok(Captured { files, kept: Some(kept), steps: pace.steps })
}

async fn go_on(node: &Node, record: &Record, files: Files) -> Result<Captured, NodeError> {
    let went_on = node.engine.resume(&record.id).await;
    went_on.map_err(|error| NodeError::new(NodeErrorCode::EngineFailed, chain(&error)))?;
    Ok(Captured { files: Arc::new(files), kept: None, steps: Vec::new() })
}

/// How long each step takes.
struct Pace {
    since: Instant,
    steps: Vec<StepTime>,
}

impl Pace {
    fn begin() -> Self {
        Self { since: Instant::now(), steps: Vec::new() }
    }

    fn step(&mut self, step: &str) {
        let now = Instant::now();
        let micros = now.duration_since(self.since).as_micros() as u64;
        self.steps.push(StepTime { step: step.to_owned(), micros });
        self.since = now;
    }
}

/// A step that tests hold or let fail.
async fn reached(node: &Node, step: &'static str) -> Result<(), NodeError> {
    node.faults.reached(step).await;
    node.faults.check(step).map_err(|error| NodeError::new(NodeErrorCode::Internal, error.to_string()))
}

/// A sandbox that is not captured after all goes on, if it still can.
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
    if failure == CaptureFailure::Refused {
        error.message.push_str("; the sandbox runs on");
    }
    NotCaptured { error, failure }
}

fn fatal(error: &NodeError, out_of_memory: bool, seen: &str) -> CaptureFailure {
    CaptureFailure::Fatal { out_of_memory, evidence: format!("{}; {seen}", error.message) }
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
