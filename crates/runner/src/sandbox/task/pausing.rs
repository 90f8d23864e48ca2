//! What a task does for a sandbox that is to be paused, or to run again.

use wire::node::{NodeError, NodeErrorCode, Observed, PauseSandbox, StepTime, WakeSandbox};
use wire::sandbox::State;

use super::Task;
use crate::sandbox::capture::{Aim, Captured, NotCaptured, RELEASED, give_up};
use crate::sandbox::handle::{Answer, Sight};
use crate::sandbox::lifecycle::{CaptureFailure, Event};
use crate::sandbox::orders::tell;
use crate::sandbox::record::Phase;
use crate::sandbox::tear_down::forget;
use crate::supervisor::{ending, stale};

/// A sandbox that could not be paused when its time was up is tried again after so long.
const AUTO_PAUSE_AGAIN_MS: u64 = 30_000;

impl Task {
    pub(super) async fn pause(&mut self, order: &PauseSandbox, answer: Answer) -> Option<Event> {
        let refusal = match self.hear(order.generation).await {
            Err(refusal) => Some(refusal),
            Ok(observed) => match observed.state {
                State::Paused => return told(answer, Ok(self.publish())),
                State::Running => self.room_to_pause().err(),
                State::Snapshotting if self.aim == Aim::Pause => None,
                State::Snapshotting => {
                    self.orders.wait_for_later_pause(answer);
                    return None;
                }
                _ => Some(ending(&observed)),
            },
        };
        if let Some(refusal) = refusal {
            return told(answer, Err(refusal));
        }
        self.orders.wait_for_pause(answer);
        Some(Event::Capture)
    }

    pub(super) async fn wake(&mut self, order: &WakeSandbox, answer: Answer) -> Option<Event> {
        let observed = match self.hear(order.generation).await {
            Err(refusal) => return told(answer, Err(refusal)),
            Ok(observed) => observed,
        };
        match observed.state {
            State::Running => return told(answer, Ok(self.publish())),
            State::Unpausing => {}
            State::Paused => {
                if let Some(refusal) = self.orders.why_no_wake(order.generation) {
                    return told(answer, Err(refusal));
                }
            }
            _ => return told(answer, Err(ending(&observed))),
        }
        self.record.spec.timeout_seconds = order.timeout_seconds;
        self.orders.wait_for_wake(answer);
        Some(Event::Wake)
    }

    /// Takes note of the generation of an order, unless a newer one was heard before. It is not told before what it leads
    /// to: as it is now, it is as an older order wanted it.
    async fn hear(&mut self, generation: u64) -> Result<Observed, NodeError> {
        if generation < self.record.generation {
            return Err(stale(generation, self.record.generation));
        }
        if generation > self.record.generation {
            self.record.generation = generation;
            self.remember().await;
        }
        Ok(Sight::of(&self.life, &self.record, &self.steps).said(&*self.node.clock))
    }

    /// Whoever wants it is told why it did not wake, and what was kept of it still is.
    pub(super) async fn sleep_on(&mut self, evidence: String) -> Event {
        self.record.phase = Phase::Paused;
        if let Err(error) = self.node.engine.release(&self.record.id).await {
            tracing::error!(sandbox = %self.record.id, %error, "half a wake could not be undone");
        }
        let event = Event::BringUpFailed(evidence);
        self.note(&event);
        event
    }

    /// It stands still, or goes on: what follows from that, and whoever waited for it is told.
    pub(super) async fn captured(&mut self, captured: Result<Captured, NotCaptured>) -> Event {
        let aim = std::mem::take(&mut self.aim);
        let not = match captured {
            Err(not) => not,
            Ok(captured) => match aim {
                Aim::Pause => match self.lie_down(captured).await {
                    Ok(()) => return Event::Captured,
                    Err(not) => not,
                },
                Aim::End => return self.end_with(captured).await,
                Aim::GoOn => match self.go_on_with(captured).await {
                    Ok(()) => return Event::WentOn,
                    Err(not) => not,
                },
            },
        };
        self.not_captured(aim, not).await
    }

    /// What is durable is written down as such; of what is not, the sandbox goes on, if it can.
    async fn lie_down(&mut self, captured: Captured) -> Result<(), NotCaptured> {
        // A delete came first.
        if self.life.death().is_some() {
            forget(&self.node, &self.record.id, captured.kept.map(|(root, _)| root)).await;
            return Ok(());
        }
        let (before, phase) = (self.record.kept, self.record.phase.clone());
        self.record.kept = captured.kept.map(|(root, _)| root);
        if let Err(evidence) = self.enter(Phase::Paused).await {
            forget(&self.node, &self.record.id, std::mem::replace(&mut self.record.kept, before)).await;
            self.record.phase = phase;
            let error = NodeError::new(NodeErrorCode::Internal, evidence);
            return Err(give_up(&self.node, &self.record.id, error, None).await);
        }
        self.steps = captured.steps;
        forget(&self.node, &self.record.id, before).await;
        Ok(())
    }

    async fn not_captured(&mut self, aim: Aim, mut not: NotCaptured) -> Event {
        if self.machine.is_none() && not.failure == CaptureFailure::Refused {
            let evidence = format!("{}; its machine ended meanwhile", not.error.message);
            not.failure = CaptureFailure::Fatal { out_of_memory: false, evidence };
        }
        self.record.phase = self.going_on(self.record.phase.clone());
        self.remember().await;
        match aim {
            Aim::Pause => self.orders.refused(not.error),
            Aim::End | Aim::GoOn => self.tell_of_snapshot(Err(not.error)),
        }
        Event::CaptureFailed(not.failure)
    }

    /// As before it was captured, but that a pause which was for want of time is tried again after a while.
    pub(super) fn going_on(&self, before: Phase) -> Phase {
        let (Phase::Pausing { deadline_boot_ms } | Phase::Running { deadline_boot_ms }) = before else {
            return before;
        };
        let again_boot_ms = self.node.clock.boot_ms() + AUTO_PAUSE_AGAIN_MS;
        let deadline_boot_ms =
            if self.record.spec.auto_pause { deadline_boot_ms.max(again_boot_ms) } else { deadline_boot_ms };
        Phase::Running { deadline_boot_ms }
    }

    /// Whether there is room for what it is. One that is refused runs on, as if nobody had asked.
    pub(super) fn room_to_pause(&self) -> Result<(), NodeError> {
        let bytes = self.node.engine.checkpoint_bytes_max(&self.record.id);
        self.node.room.check_bytes(bytes.saturating_mul(self.node.vault.copies_on_disk()))
    }

    pub(super) fn time_up(&mut self) -> Option<Event> {
        if self.record.spec.auto_pause
            && let Err(refusal) = self.room_to_pause()
        {
            tracing::error!(sandbox = %self.record.id, error = refusal.message, "its time is up, and it cannot be paused");
            self.record.phase = self.going_on(self.record.phase.clone());
            self.publish();
            return None;
        }
        Some(Event::TimeUp)
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Released => {
                self.tear_downs = 0;
                let micros = self.release_began.elapsed().as_micros() as u64;
                self.steps.push(StepTime { step: RELEASED.into(), micros });
            }
            Event::BringUpFailed(evidence) if self.life.state() == State::Unpausing => {
                let message = format!("the sandbox could not be woken: {evidence}");
                let refusal = NodeError::new(NodeErrorCode::EngineFailed, message);
                self.orders.refused_wake(self.record.generation, refusal);
            }
            _ => {}
        }
    }
}

fn told(answer: Answer, said: Result<Observed, NodeError>) -> Option<Event> {
    tell(answer, said);
    None
}
