//! How fast teams ask.
//!
//! Each team owes a number of requests, which it pays back at its rate; it may ask while it owes less
//! than its burst. A team that owes nothing need not be remembered, and teams are known only by good
//! keys: strangers take no room here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wire::id::TeamId;

/// Teams remembered at once; those that owe nothing are forgotten first.
const TEAMS_MAX: usize = 10_000;

/// One request, in the unit that debts are counted in: a rate, times nanoseconds.
const REQUEST: u128 = 1_000_000_000;

/// Who owes how much.
#[derive(Default)]
pub struct Rates {
    debts: Mutex<HashMap<TeamId, Debt>>,
}

/// What a team owed at some moment, and how fast it pays.
#[derive(Debug, Clone, Copy)]
struct Debt {
    owed: u128,
    at: Instant,
    per_second: u128,
}

impl Debt {
    fn left(&self, now: Instant) -> u128 {
        let paid = now.saturating_duration_since(self.at).as_nanos().saturating_mul(self.per_second);
        self.owed.saturating_sub(paid)
    }
}

impl Rates {
    /// Counts one request of a team that may ask so often in a second, and so often at once.
    ///
    /// # Errors
    /// It asks too often: how long until it may ask again.
    pub fn take(&self, team: &TeamId, per_second: u32, burst: u32, now: Instant) -> Result<(), Duration> {
        let per_second = u128::from(per_second.max(1));
        let mut debts = self.debts.lock().unwrap_or_else(PoisonError::into_inner);
        if debts.len() >= TEAMS_MAX && !debts.contains_key(team) {
            debts.retain(|_, debt| debt.left(now) > 0);
            if debts.len() >= TEAMS_MAX {
                return Err(wait(REQUEST, per_second));
            }
        }
        let owed = debts.get(team).map_or(0, |debt| debt.left(now)) + REQUEST;
        let beyond = owed.saturating_sub(u128::from(burst.max(1)) * REQUEST);
        if beyond > 0 {
            return Err(wait(beyond, per_second));
        }
        debts.insert(team.clone(), Debt { owed, at: now, per_second });
        Ok(())
    }
}

/// How long it takes to pay so much.
fn wait(owed: u128, per_second: u128) -> Duration {
    Duration::from_nanos(u64::try_from(owed.div_ceil(per_second)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::id::ENTROPY_BYTES;

    fn team(number: usize) -> TeamId {
        let mut entropy = [0; ENTROPY_BYTES];
        (0..4).for_each(|digit| entropy[digit] = (number >> (5 * digit) & 31) as u8);
        TeamId::from_entropy(entropy)
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let (rates, start) = (Rates::default(), Instant::now());
        let take = |after_ms| rates.take(&team(1), 10, 3, start + Duration::from_millis(after_ms));
        assert_eq!([take(0), take(0), take(0)], [Ok(()); 3]);
        assert_eq!(take(0), Err(Duration::from_millis(100)));
        assert_eq!(take(40), Err(Duration::from_millis(60)));
        assert_eq!([take(100), take(200)], [Ok(()); 2]);
        assert!(take(200).is_err());
        assert_eq!([take(10_000), take(10_000), take(10_000)], [Ok(()); 3], "a pause earns a burst, no more");
        assert!(take(10_000).is_err());
    }

    #[test]
    fn over_a_long_time_the_rate_is_exact() {
        let (rates, start) = (Rates::default(), Instant::now());
        let taken =
            (0..10_000).filter(|ms| rates.take(&team(1), 50, 1, start + Duration::from_millis(*ms)).is_ok());
        assert_eq!(taken.count(), 500);
    }

    #[test]
    fn who_may_ask_more_often_pays_old_debts_at_the_new_rate() {
        let (rates, start) = (Rates::default(), Instant::now());
        (0..4).for_each(|_| rates.take(&team(1), 1, 4, start).unwrap());
        assert_eq!(rates.take(&team(1), 1, 4, start), Err(Duration::from_secs(1)));
        assert_eq!(rates.take(&team(1), 1000, 100, start), Ok(()));
        let later = start + Duration::from_millis(5);
        assert_eq!(rates.take(&team(1), 1000, 1, later), Ok(()));
    }

    #[test]
    fn one_teams_haste_is_not_anothers_and_memory_is_bounded() {
        let (rates, start) = (Rates::default(), Instant::now());
        for number in 0..2 * TEAMS_MAX {
            // Each owes nothing any more when the next comes.
            let now = start + Duration::from_secs(2 * number as u64);
            assert_eq!(rates.take(&team(number), 1, 1, now), Ok(()));
        }
        assert!(rates.debts.lock().unwrap().len() <= TEAMS_MAX);
        let now = start + Duration::from_secs(8 * TEAMS_MAX as u64);
        for number in 0..TEAMS_MAX {
            assert_eq!(rates.take(&team(number), 1, 1, now), Ok(()));
        }
        assert!(rates.take(&team(TEAMS_MAX), 1, 1, now).is_err(), "nobody is let in uncounted");
    }
}
