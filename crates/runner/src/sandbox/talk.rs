//! Whether anybody talks to a sandbox. While nobody does, it may doze: its
//! timers come late, and its kernel costs the host a tenth.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// The requests under way to one sandbox, and whether it dozes.
#[derive(Debug)]
pub struct Talk {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    talkers: u32,
    dozing: bool,
}

/// A request under way. The sandbox is awake as long as there is one.
#[derive(Debug)]
pub struct Talking(Arc<Talk>);

impl Talk {
    /// Nobody talks yet. One that may have been left dozing is woken by the first request.
    pub fn new(dozing: bool) -> Arc<Self> {
        let state = Mutex::new(State { talkers: 0, dozing });
        Arc::new(Self { state, changes: watch::channel(()).0 })
    }

    /// A request begins; `wake` is called if the sandbox dozes, and has returned when this does.
    pub fn begin(self: &Arc<Self>, wake: impl FnOnce()) -> Talking {
        let mut state = self.lock();
        state.talkers += 1;
        if std::mem::take(&mut state.dozing) {
            wake();
        }
        drop(state);
        self.changes.send_replace(());
        Talking(self.clone())
    }

    /// Waits until a sandbox that is awake has not been talked to for so long.
    pub async fn quiet(&self, long: Duration) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            let still = { self.lock().is_still() };
            tokio::select! {
                () = tokio::time::sleep(long), if still => return,
                // The sender is in `self`, so it cannot go away.
                _ = changes.changed() => {}
            }
        }
    }

    /// Waits until nobody talks but who asks.
    pub async fn alone(&self) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if self.lock().talkers <= 1 {
                return;
            }
            // The sender is in `self`, so it cannot go away.
            let _ = changes.changed().await;
        }
    }

    /// Lets the sandbox doze, by `doze`, unless somebody has begun to talk.
    pub fn doze(&self, doze: impl FnOnce()) {
        let mut state = self.lock();
        if state.is_still() {
            doze();
            state.dozing = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_still(&self) -> bool {
        self.talkers == 0 && !self.dozing
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        self.0.lock().talkers -= 1;
        self.0.changes.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const LONG: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_sandbox_dozes_only_when_nobody_talks_and_wakes_before_anybody_does() {
        let talk = Talk::new(false);
        let talking = talk.begin(|| panic!("it is awake"));
        assert!(tokio::time::timeout(LONG * 3, talk.quiet(LONG)).await.is_err());
        talk.doze(|| panic!("somebody talks"));
        drop(talking);
        talk.quiet(LONG).await;
        let dozes = Cell::new(0);
        talk.doze(|| dozes.set(dozes.get() + 1));
        talk.doze(|| dozes.set(dozes.get() + 1));
        assert_eq!(dozes.get(), 1);
        let woken = Cell::new(false);
        let _talking = talk.begin(|| woken.set(true));
        assert!(woken.get());
    }

    #[tokio::test]
    async fn who_talks_alone_waits_for_nobody_and_else_for_the_last_of_the_others() {
        let talk = Talk::new(false);
        let _own = talk.begin(|| {});
        talk.alone().await;
        let other = talk.begin(|| {});
        assert!(tokio::time::timeout(LONG, talk.alone()).await.is_err());
        let ((), ()) = tokio::join!(talk.alone(), async { drop(other) });
    }

    #[test]
    fn one_that_was_found_is_taken_to_doze() {
        let woken = Cell::new(false);
        let _talking = Talk::new(true).begin(|| woken.set(true));
        assert!(woken.get());
    }
}
