//! What a look into a new directory has told already, and the kernel may tell again.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::time::{Duration, Instant};

use super::map::Watched;

/// Names that are remembered; a look that finds more asks for another one.
const NAMES_MAX: usize = 4096;
/// How long after a look the kernel may still tell what was there: some say it a little after it can be seen.
const WAIT: Duration = Duration::from_millis(100);

/// Names that were found.
#[derive(Default)]
pub struct Fresh {
    names: HashSet<(Watched, CString)>,
    until: Option<Instant>,
}

impl Fresh {
    /// Remembers one. False if there is no room.
    pub fn add(&mut self, above: Watched, name: &CStr) -> bool {
        if self.names.len() >= NAMES_MAX {
            return false;
        }
        self.names.insert((above, name.to_owned()));
        self.until = Some(Instant::now() + WAIT);
        true
    }

    /// Whether one was found that the kernel tells of now. It is remembered no longer.
    pub fn take(&mut self, above: Watched, name: &CStr) -> bool {
        !self.names.is_empty() && self.names.remove(&(above, name.to_owned()))
    }

    /// To be called when the kernel has nothing more to tell.
    pub fn settle(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            self.clear();
        }
    }

    /// When to settle.
    pub fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_told_once_and_remembered_for_a_while() {
        let mut fresh = Fresh::default();
        assert!(fresh.add(1, c"a") && fresh.add(1, c"b"));
        assert!(fresh.take(1, c"a") && !fresh.take(1, c"a") && !fresh.take(2, c"b"));
        fresh.settle(Instant::now() - WAIT);
        let until = fresh.deadline().unwrap();
        fresh.settle(until);
        assert!(!fresh.take(1, c"b") && fresh.deadline().is_none());
    }

    #[test]
    fn names_are_bounded() {
        let mut fresh = Fresh::default();
        assert!((0..NAMES_MAX as i32).all(|above| fresh.add(above, c"a")));
        assert!(!fresh.add(-1, c"a"));
    }
}
