//! Bring-up as one list of steps, run forwards to make a machine and
//! backwards to end it.
//!
//! A step's `undo` needs only the sandbox's id and succeeds when there is
//! nothing to undo. So the same code serves a failed bring-up, a delete, and
//! a start after a crash that nobody saw.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wire::node::StepTime;

use crate::Error;

/// Between two looks at whether a held step may go on.
const HOLD_POLL: Duration = Duration::from_millis(2);

/// Failures and pauses that tests ask for. The default asks for none.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    steps: Arc<Mutex<BTreeSet<&'static str>>>,
    holds: Option<PathBuf>,
}

impl Faults {
    /// Pauses at steps for which there is a file in this directory, so that somebody outside can kill something
    /// at that very moment. The file gets the ending `.held`, and the step goes on when it is removed.
    pub fn holding(directory: Option<PathBuf>) -> Self {
        Self { holds: directory, ..Self::default() }
    }

    /// Called after each step, where it may be held.
    pub async fn reached(&self, step: &'static str) {
        let Some(directory) = &self.holds else { return };
        let held = directory.join(format!("{step}.held"));
        // The one that renames the file is the one that is held.
        if std::fs::rename(directory.join(step), &held).is_ok() {
            while held.exists() {
                tokio::time::sleep(HOLD_POLL).await;
            }
        }
    }

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

/// Runs steps, times them, and makes them fail where a test asked for it.
#[derive(Debug)]
pub(crate) struct StepLog {
    faults: Faults,
    times: Mutex<Vec<StepTime>>,
}

impl StepLog {
    /// An empty log.
    pub(crate) fn new(faults: Faults) -> Self {
        Self { faults, times: Mutex::default() }
    }

    /// Runs one step. Two may run at once.
    ///
    /// # Errors
    /// [`Error::Step`] around what the step itself said.
    pub(crate) async fn step<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let result = work.await;
        self.faults.reached(step).await;
        let result = result.and_then(|done| self.faults.check(step).map(|()| done));
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let time = StepTime { step: step.to_owned(), micros };
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
        result.map_err(|source| Error::Step { step, source: Box::new(source) })
    }

    /// How long each step took, in the order they ended.
    pub(crate) fn into_times(self) -> Vec<StepTime> {
        self.times.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_a_test_fails_has_done_its_work() {
        let faults = Faults::default();
        faults.fail_at("two");
        let log = StepLog::new(faults.clone());
        let mut done = Vec::new();
        let mut work = async |number| {
            done.push(number);
            Ok(())
        };
        log.step("one", work(1)).await.unwrap();
        let failed = log.step("two", work(2)).await;
        assert!(matches!(failed, Err(Error::Step { step: "two", .. })));
        assert_eq!(done, [1, 2]);
        let steps: Vec<_> = log.into_times().into_iter().map(|time| time.step).collect();
        assert_eq!(steps, ["one", "two"]);
        faults.clear();
        assert!(faults.check("two").is_ok());
    }

    #[tokio::test]
    async fn a_step_is_held_once_and_only_where_there_is_a_file_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let (asked, held) = (directory.path().join("two"), directory.path().join("two.held"));
        let faults = Faults::holding(Some(directory.path().to_owned()));
        faults.reached("two").await;
        std::fs::write(asked, "").unwrap();
        faults.reached("one").await;
        let release = async {
            while !held.exists() {
                tokio::task::yield_now().await;
            }
            std::fs::remove_file(&held).unwrap();
        };
        tokio::join!(faults.reached("two"), release);
        faults.reached("two").await;
    }
}
