//! Moves of which the first half was seen: what leaves a directory may arrive in another, or nowhere one watches.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::time::{Duration, Instant};

use wire::guest::watch::MOVE_WAIT_MS;

use super::map::Watched;

/// Halves that wait at once. Their other halves follow at once, if at all, so there are never many.
const HALVES_MAX: usize = 64;
/// How long one waits.
const WAIT: Duration = Duration::from_millis(MOVE_WAIT_MS);

/// Something that has left its place.
#[derive(Debug)]
pub struct Half {
    /// What its other half has too.
    pub cookie: u32,
    /// Where it was.
    pub above: Watched,
    /// Its name there.
    pub name: CString,
    /// Its path there.
    pub path: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// All that wait, in the order they came.
#[derive(Default)]
pub struct Halves(VecDeque<(Instant, Half)>);

impl Halves {
    /// One more. Returns one that has to wait no longer, where there are too many.
    pub fn push(&mut self, half: Half, now: Instant) -> Option<Half> {
        self.0.push_back((now + WAIT, half));
        if self.0.len() > HALVES_MAX { self.0.pop_front().map(|(_, half)| half) } else { None }
    }

    /// Whose other half has come.
    pub fn take(&mut self, cookie: u32) -> Option<Half> {
        self.take_where(|half| half.cookie == cookie)
    }

    /// What left this place, of which something new is heard.
    pub fn take_from(&mut self, above: Watched, name: &CStr) -> Option<Half> {
        self.take_where(|half| half.above == above && half.name.as_c_str() == name)
    }

    /// One that has waited long enough.
    pub fn take_expired(&mut self, now: Instant) -> Option<Half> {
        let is_expired = self.deadline().is_some_and(|deadline| deadline <= now);
        if is_expired { self.0.pop_front().map(|(_, half)| half) } else { None }
    }

    /// When the first has waited long enough.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.front().map(|(deadline, _)| *deadline)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn take_where(&mut self, fits: impl Fn(&Half) -> bool) -> Option<Half> {
        let index = self.0.iter().position(|(_, half)| fits(half))?;
        self.0.remove(index).map(|(_, half)| half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(cookie: u32) -> Half {
        Half { cookie, above: 1, name: CString::default(), path: String::new(), is_dir: false }
    }

    #[test]
    fn a_half_waits_for_its_other_and_not_for_ever() {
        let (mut halves, now) = (Halves::default(), Instant::now());
        halves.push(half(1), now);
        halves.push(half(2), now);
        assert_eq!(halves.take(2).unwrap().cookie, 2);
        assert!(halves.take(2).is_none() && halves.take_expired(now).is_none());
        assert_eq!(halves.deadline(), Some(now + WAIT));
        assert_eq!(halves.take_expired(now + WAIT).unwrap().cookie, 1);
        assert_eq!(halves.deadline(), None);
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let (mut halves, now) = (Halves::default(), Instant::now());
        for cookie in 0..HALVES_MAX as u32 {
            assert!(halves.push(half(cookie), now).is_none());
        }
        assert_eq!(halves.push(half(1000), now).unwrap().cookie, 0);
        assert_eq!(halves.take_from(1, c"").unwrap().cookie, 1);
    }
}
