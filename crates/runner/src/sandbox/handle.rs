//! What others hold of a sandbox: they ask its task, and see what it has become.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use wire::clock::Clock;
use wire::node::{
    NodeError, Observed, PauseSandbox, PutDeadline, StepTime, TakeSnapshot, TakenSnapshot, WakeSandbox,
};
use wire::sandbox::{Reason, State};

use super::lifecycle::Life;
use super::record::{Phase, Record};
use super::talk::Talk;
use crate::guest::Connection;

/// Who waits for what an order comes to.
pub type Answer = oneshot::Sender<Result<Observed, NodeError>>;

/// Who waits for a snapshot.
pub type SnapshotAnswer = oneshot::Sender<Result<TakenSnapshot, NodeError>>;

/// What others ask of a task.
#[derive(Debug)]
pub enum Command {
    /// End it for this reason.
    Delete(Reason),
    /// A newer wish has been seen.
    Generation(u64),
    /// The host could not keep what it wrote.
    DiskFailed {
        /// For want of room.
        full: bool,
        /// What was seen.
        evidence: String,
    },
    /// Its time is up at another moment than it was to be. Answered when the record says so.
    Deadline(PutDeadline, Answer),
    /// It should be paused. Answered when it is, or when it is not to be.
    Pause(PauseSandbox, Answer),
    /// A snapshot of it should be taken. Answered when that is durable, or not to be.
    Snapshot(TakeSnapshot, SnapshotAnswer),
    /// It should run again. Answered when it does, or when it cannot.
    Wake(WakeSandbox, Answer),
}

/// What others hold of a sandbox.
#[derive(Clone)]
pub struct Handle {
    pub(super) task: AbortHandle,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) sight: watch::Receiver<Sight>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) guest: watch::Receiver<Option<Connection>>,
    /// Who talks to it.
    pub talk: Arc<Talk>,
    /// What it was made of, and what it takes of the node.
    pub record: Arc<Record>,
}

impl Handle {
    /// What it is now.
    pub fn observed(&self) -> Observed {
        self.sight.borrow().said(&*self.clock)
    }

    /// What opens a connection to its agent now; another one after each renewal.
    pub fn token(&self) -> String {
        self.sight.borrow().token.clone()
    }

    /// Stops the task where it stands, as a killed process would. The sandbox goes on without it.
    pub fn abandon(&self) {
        self.task.abort();
    }

    /// True if the task broke off, which is a fault of ours: nobody looks after the sandbox.
    pub fn is_abandoned(&self) -> bool {
        self.task.is_finished() && self.observed().state != State::Deleted
    }

    /// Asks the task; a task that has ended needs no asking.
    pub async fn send(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    /// Waits until what it is satisfies `settled`, and returns that; or what it last was, if the task ended.
    pub async fn wait(&self, settled: impl Fn(&Observed) -> bool) -> Observed {
        let mut sight = self.sight.clone();
        match sight.wait_for(|sight| settled(&sight.observed)).await {
            Ok(sight) => sight.said(&*self.clock),
            Err(_) => self.observed(),
        }
    }

    /// The connection to its agent, as soon as there is one; `None` when there will never be one again.
    pub async fn guest(&self) -> Option<Connection> {
        let mut guest = self.guest.clone();
        let connection = guest.wait_for(Option::is_some).await.ok()?;
        connection.clone()
    }
}

/// What a sandbox is, but for the moment its time is up, which is said by a clock that may be set meanwhile.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    observed: Observed,
    deadline_boot_ms: Option<u64>,
    token: String,
}

impl Sight {
    pub(super) fn of(life: &Life, record: &Record, steps: &[StepTime]) -> Self {
        let observed = Observed {
            id: record.id.clone(),
            generation: record.generation,
            state: life.state(),
            death: life.death().cloned(),
            timeout_at_ms: None,
            is_wanted: false,
            leaves: record.leaves.filter(|_| life.state() == State::Deleted),
            steps: steps.to_vec(),
        };
        let deadline_boot_ms = match record.phase {
            Phase::Running { deadline_boot_ms } => Some(deadline_boot_ms),
            _ => None,
        };
        Self { observed, deadline_boot_ms, token: record.token.clone() }
    }

    /// In the words of this moment.
    pub(super) fn said(&self, clock: &dyn Clock) -> Observed {
        let left = self.deadline_boot_ms.map(|deadline| deadline.saturating_sub(clock.boot_ms()));
        Observed { timeout_at_ms: left.map(|left| clock.wall_ms() + left), ..self.observed.clone() }
    }
}
