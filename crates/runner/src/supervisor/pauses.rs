//! Sandboxes that are paused, and woken where there is room.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use wire::id::SandboxId;
use wire::node::{Capacity, NodeError, Observed, PauseSandbox, WakeSandbox};
use wire::sandbox::State;

use super::{Supervisor, bounded, ending, not_found, used};
use crate::capacity::{admit, demand};
use crate::sandbox::handle::{Command, Handle};

/// A pause may take so long: gigabytes go to a disk.
const PAUSE_BOUND: Duration = Duration::from_secs(660);
/// A wake may take so long: gigabytes come from there.
const WAKE_BOUND: Duration = Duration::from_secs(360);

/// See [`Supervisor::reserve`].
struct Place<'a> {
    supervisor: &'a Supervisor,
    id: SandboxId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waking = self.supervisor.waking();
        if let Some(index) = waking.iter().position(|id| *id == self.id) {
            waking.swap_remove(index);
        }
    }
}

impl Supervisor {
    /// Pauses a sandbox, and returns when that is durable and its compute is gone.
    ///
    /// # Errors
    /// [`NodeErrorCode::NotFound`], [`NodeErrorCode::Stale`], [`NodeErrorCode::WrongState`] when it does not run,
    /// [`NodeErrorCode::StorageFull`] and others when it cannot be kept: then it runs on, or has died of it.
    pub async fn pause(&self, id: &SandboxId, pause: PauseSandbox) -> Result<Observed, NodeError> {
        self.attend(id).await;
        let handle = self.get(id).ok_or_else(|| not_found(id))?;
        let (answer, answered) = oneshot::channel();
        handle.send(Command::Pause(pause, answer)).await;
        let answered = bounded(PAUSE_BOUND, answered).await?;
        answered.unwrap_or_else(|_| Err(ending(&handle.observed())))
    }

    /// Has a sandbox that is paused run again, and returns when it does.
    ///
    /// # Errors
    /// [`NodeErrorCode::NotFound`], [`NodeErrorCode::Stale`], [`NodeErrorCode::NoCapacity`] and others when it cannot:
    /// then it stays paused.
    pub async fn wake(&self, id: &SandboxId, wake: WakeSandbox) -> Result<Observed, NodeError> {
        self.attend(id).await;
        let handle = self.get(id).ok_or_else(|| not_found(id))?;
        let _place = self.reserve(&handle).await?;
        let (answer, answered) = oneshot::channel();
        handle.send(Command::Wake(wake, answer)).await;
        let answered = bounded(WAKE_BOUND, answered).await?;
        answered.unwrap_or_else(|_| Err(ending(&handle.observed())))
    }

    /// A place for a sandbox that is about to wake, held until it does.
    async fn reserve(&self, handle: &Handle) -> Result<Place<'_>, NodeError> {
        let _one_at_a_time = self.admitting.lock().await;
        let id = &handle.record.id;
        if handle.observed().state == State::Paused && !self.waking().contains(id) {
            admit(self.capacity, self.used(), demand(&handle.record.spec))?;
            self.node.room.check()?;
        }
        self.waking().push(id.clone());
        Ok(Place { supervisor: self, id: id.clone() })
    }

    fn waking(&self) -> MutexGuard<'_, Vec<SandboxId>> {
        self.waking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn used(&self) -> Capacity {
        let waking = self.waking().clone();
        used(&self.lock(), &waking)
    }
}
