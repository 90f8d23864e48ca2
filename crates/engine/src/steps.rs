//! Bring-up as one list of steps, run forwards to make a machine and
//! backwards to end it.
//!
//! A step's `undo` needs only the sandbox's id and succeeds when there is
//! nothing to undo. So the same code serves a failed bring-up, a delete, and
//! a start after a crash that nobody saw.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Error;

/// Failures that tests ask for. The default asks for none.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    steps: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Faults {
    /// From now on this step fails, after it has done its work: the hardest place to undo from.
    pub fn fail_at(&self, step: &'static str) {
        self.lock().insert(step);
    }

    /// From now on no step fails.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Called by every step at its end.
    ///
    /// # Errors
    /// [`Error::Injected`] if a test asked for it.
    pub fn check(&self, step: &'static str) -> Result<(), Error> {
        if self.lock().contains(step) { Err(Error::Injected(step)) } else { Ok(()) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<&'static str>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
