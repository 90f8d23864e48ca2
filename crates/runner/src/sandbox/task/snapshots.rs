//! What a task does for a snapshot of a sandbox that runs.

use std::sync::Arc;

use wire::node::{NodeError, NodeErrorCode, TakeSnapshot, TakenSnapshot};
use wire::sandbox::{Reason, State};
use wire::snapshot::Root;

use super::Task;
use crate::node::Node;
use crate::sandbox::capture::{Aim, Captured, NotCaptured, give_up};
use crate::sandbox::handle::{Sight, SnapshotAnswer};
use crate::sandbox::lifecycle::Event;
use crate::sandbox::record::{Phase, Record};
use crate::supervisor::ending;
use crate::vault::{Files, about};

/// A snapshot of a sandbox that goes on is durable.
const STORED: &str = "stored";

impl Task {
    pub(super) fn snapshot(&mut self, order: &TakeSnapshot, answer: SnapshotAnswer) -> Option<Event> {
        let observed = Sight::of(&self.life, &self.record, &self.steps).said(&*self.node.clock);
        let admitted = match observed.state {
            // Plain for a while, beside what is kept.
            State::Running => self.room_to_pause(),
            State::Snapshotting => Err(busy()),
            _ => Err(ending(&observed)),
        };
        if let Err(refusal) = admitted {
            tell(answer, Err(refusal));
            return None;
        }
        self.aim = if order.ends { Aim::End } else { Aim::GoOn };
        self.snapshot = Some(answer);
        Some(Event::Capture)
    }

    /// It ends, and what it was is kept.
    pub(super) async fn end_with(&mut self, captured: Captured) -> Event {
        let taken = captured.kept.map(|(root, bytes)| TakenSnapshot { root, bytes });
        if let Some(taken) = &taken {
            self.node.vault.leave(taken.root, captured.files).await;
            self.record.leaves = Some(taken.root);
        }
        let ended = self.apply(Event::Delete(Reason::Deleted)).await;
        debug_assert!(ended.is_none(), "it is still being captured");
        self.tell_of_snapshot(
            taken.ok_or_else(|| NodeError::new(NodeErrorCode::Internal, "it was not kept")),
        );
        Event::Captured
    }

    /// It goes on, and what it was is kept meanwhile.
    pub(super) async fn go_on_with(&mut self, captured: Captured) -> Result<(), NotCaptured> {
        if self.machine.is_none() {
            let message = "its machine ended when it was to go on";
            let error = NodeError::new(NodeErrorCode::EngineFailed, message);
            return Err(give_up(&self.node, &self.record.id, error, None).await);
        }
        if let Phase::Pausing { deadline_boot_ms } = self.record.phase {
            self.record.phase = Phase::Running { deadline_boot_ms };
            self.remember().await;
        }
        if let Some(answer) = self.snapshot.take() {
            let (node, record) = (self.node.clone(), self.record.clone());
            tokio::spawn(async move { tell(answer, store(node, record, captured.files).await) });
        }
        Ok(())
    }

    /// Whoever waits for a snapshot hears what came of it.
    pub(super) fn tell_of_snapshot(&mut self, said: Result<TakenSnapshot, NodeError>) {
        if let Some(answer) = self.snapshot.take() {
            tell(answer, said);
        }
    }
}

async fn store(node: Arc<Node>, record: Record, files: Arc<Files>) -> Result<TakenSnapshot, NodeError> {
    let (root, bytes): (Root, u64) = node.vault.keep(&files, about(&node, &record)).await?;
    node.vault.leave(root, files).await;
    node.faults.reached(STORED).await;
    Ok(TakenSnapshot { root, bytes })
}

fn busy() -> NodeError {
    NodeError::new(
        NodeErrorCode::WrongState,
        "it is being paused, or a snapshot of it is being taken; ask again",
    )
}

/// Whoever asked may have gone; nobody counts on what was stored then, and it goes with the next pruning.
fn tell(answer: SnapshotAnswer, said: Result<TakenSnapshot, NodeError>) {
    let _ = answer.send(said);
}
