//! When to ask for a certificate. Pure: every moment is given.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::validity::Validity;

/// Orders in an hour, at most: authorities count too, and take days to forget.
pub(crate) const ORDERS_MAX: usize = 5;
/// How long an order counts.
const ORDERS_WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// Before the second try, about; each wait is twice the one before …
const WAIT_FIRST: Duration = Duration::from_secs(10);
/// … up to this.
const WAIT_LONGEST: Duration = Duration::from_secs(6 * 60 * 60);

/// When a certificate is to be renewed: after two thirds of its life.
pub(crate) fn renewal(validity: &Validity) -> Timestamp {
    validity.until - SignedDuration::from_secs(validity.life().as_secs() / 3)
}

/// How long to wait after so many failures in a row. `dice` is any number: half of the wait is left to it, so that those
/// who failed together do not come back together.
pub(crate) fn wait(failures: u32, dice: u32) -> Duration {
    let doubled = WAIT_FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let longest = doubled.min(WAIT_LONGEST);
    longest / 2 + (longest / 2).mul_f64(f64::from(dice) / f64::from(u32::MAX))
}

/// Those orders that still count.
pub(crate) fn recent(mut orders: Vec<Timestamp>, now: Timestamp) -> Vec<Timestamp> {
    // What is said to be later was written by a clock that was wrong.
    orders.retain(|order| *order <= now && now.duration_since(*order) < ORDERS_WINDOW);
    orders.sort_unstable();
    orders
}

/// From when on there may be another order.
pub(crate) fn free(recent: &[Timestamp], now: Timestamp) -> Timestamp {
    match recent.len().checked_sub(ORDERS_MAX).and_then(|oldest| recent.get(oldest)) {
        Some(oldest) => *oldest + ORDERS_WINDOW,
        None => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
        assert_eq!(renewal(&Validity { from: at(0), until: at(90) }), at(60));
    }

    #[test]
    fn waits_grow_up_to_a_bound_and_are_never_all_the_same() {
        assert_eq!((wait(1, 0).as_secs(), wait(1, u32::MAX).as_secs()), (5, 10));
        assert_eq!((wait(4, 0).as_secs(), wait(4, u32::MAX).as_secs()), (40, 80));
        for failures in [13, 33, u32::MAX] {
            assert_eq!(wait(failures, 0), WAIT_LONGEST / 2);
            assert_eq!(wait(failures, u32::MAX), WAIT_LONGEST);
        }
    }

    #[test]
    fn there_are_so_many_orders_in_an_hour_and_no_more() {
        let orders: Vec<_> = (0..ORDERS_MAX as i64).map(|order| at(order * 60)).collect();
        assert_eq!(free(&recent(orders[1..].to_vec(), at(600)), at(600)), at(600));
        assert_eq!(free(&recent(orders.clone(), at(600)), at(600)), at(3600));
        assert_eq!(free(&recent(orders.clone(), at(3601)), at(3601)), at(3601));
        assert_eq!(recent(orders, at(100)), [at(0), at(60)], "what is in the future does not count");
    }
}
