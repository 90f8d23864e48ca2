//! Whether the sandbox has any process.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Shared by who starts processes, who reaps them, and who wants to rest while there are none.
#[derive(Default)]
pub struct Activity {
    state: Mutex<State>,
    begun: Condvar,
}

#[derive(Default)]
struct State {
    starts: u64,
    is_active: bool,
}

impl Activity {
    /// A process was started.
    pub fn start(&self) {
        let mut state = self.lock();
        state.starts += 1;
        state.is_active = true;
        self.begun.notify_all();
    }

    /// Processes started so far: to be asked before looking for children, and told to [`Activity::end`] if there are none.
    pub fn starts(&self) -> u64 {
        self.lock().starts
    }

    /// There was no child; counts unless one was started since `starts`.
    pub fn end(&self, starts: u64) {
        let mut state = self.lock();
        if state.starts == starts {
            state.is_active = false;
        }
    }

    /// Waits until there are processes.
    pub fn wait(&self) {
        let state = self.lock();
        // Poisoning needs a panic, which ends the process.
        drop(self.begun.wait_while(state, |state| !state.is_active).unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_during_the_look_is_not_overlooked() {
        let activity = Activity::default();
        activity.start();
        let starts = activity.starts();
        activity.start();
        activity.end(starts);
        assert!(activity.lock().is_active);
        activity.end(activity.starts());
        assert!(!activity.lock().is_active);
    }
}
