//! What services gave for a time, kept until it is nearly over.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Key;

/// Things kept, at most.
const KEPT_MAX: usize = 4096;
/// Nothing is kept longer, whatever its service says.
pub(crate) const LIFETIME_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// Values that run out.
#[derive(Debug)]
pub(crate) struct Kept<T>(Mutex<HashMap<Key, (T, Instant)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Kept<T> {
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(_, until)| *until > now).map(|(value, _)| value.clone())
    }

    /// Keeps it for four fifths of its lifetime: it must not run out on its way.
    pub(crate) fn keep(&self, key: Key, value: T, lifetime: Duration, now: Instant) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, (_, until)| *until > now);
        }
        if kept.len() < KEPT_MAX {
            kept.insert(key, (value, now + lifetime.min(LIFETIME_MAX) * 4 / 5));
        }
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(repository: &str) -> Key {
        Key { registry: "r.test".into(), repository: repository.into(), credentials: None }
    }

    const LIFETIME: Duration = Duration::from_secs(100);

    #[test]
    fn what_is_kept_is_renewed_before_it_runs_out() {
        let (kept, now) = (Kept::default(), Instant::now());
        kept.keep(key("a"), 1, LIFETIME, now);
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!((kept.get(&key("a"), at(79)), kept.get(&key("b"), at(79))), (Some(1), None));
        assert_eq!(kept.get(&key("a"), at(81)), None);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let (kept, now) = (Kept::default(), Instant::now());
        for number in 0..=KEPT_MAX {
            kept.keep(key(&number.to_string()), number, LIFETIME, now);
        }
        assert_eq!(kept.get(&key(&KEPT_MAX.to_string()), now), None);
        kept.keep(key("new"), 7, LIFETIME, now + LIFETIME);
        assert_eq!(kept.get(&key("new"), now + LIFETIME), Some(7));
    }
}
