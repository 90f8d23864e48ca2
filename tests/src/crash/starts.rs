//! How soon a server that was started again has its sandboxes answer, and what that is measured against.
//!
//! A clock on the wall says as much about the machine's other work as about
//! ours. So now and then a server without sandboxes is started beside, and what
//! is promised counts where the machine could keep it at all: a return is late
//! only if it is later than promised *and* many times slower than those starts.

use std::fmt;
use std::time::Duration;

/// How soon after its server's start a sandbox is promised to answer, as the median.
const PROMISED: Duration = Duration::from_secs(2);
/// How many times the start of an empty server a return may take on a machine that has too much to do.
const EMPTY_STARTS_MAX: u32 = 4;
/// Between two empty starts lie so many returns.
const RETURNS_PER_EMPTY_START: usize = 4;

/// Starts of servers, and how long each took until its first answer.
#[derive(Debug, Default)]
pub struct Starts {
    /// Of servers with sandboxes, until one of them answered.
    returns: Vec<Duration>,
    /// Of servers without, until they answered.
    empty: Vec<Duration>,
}

impl Starts {
    /// A server has found its sandboxes again. True if it is time for an empty start.
    pub fn returned(&mut self, after: Duration) -> bool {
        self.returns.push(after);
        self.returns.len() % RETURNS_PER_EMPTY_START == 1
    }

    /// An empty server was started.
    pub fn started_empty(&mut self, after: Duration) {
        self.empty.push(after);
    }

    /// The median of the returns must be as soon as promised, or as soon as this machine has a server start at all.
    ///
    /// # Errors
    /// When it is not.
    pub fn judge(&self) -> Result<(), String> {
        let (Some(median), Some(empty)) = (quantile(&self.returns, 50), quantile(&self.empty, 50)) else {
            return Ok(());
        };
        let bound = PROMISED.max(empty * EMPTY_STARTS_MAX);
        if median <= bound { Ok(()) } else { Err(format!("later than {bound:.2?} in the median: {self}")) }
    }
}

impl fmt::Display for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |of: &[Duration]| {
            let at = |percent| quantile(of, percent).unwrap_or_default();
            format!("{:.2?} in the median, {:.2?} at p95, {:.2?} at most", at(50), at(95), at(100))
        };
        write!(f, "{} returns: {}; ", self.returns.len(), told(&self.returns))?;
        write!(f, "{} empty starts: {}", self.empty.len(), told(&self.empty))
    }
}

/// What so many percent of them are not above.
fn quantile(of: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(returns_ms: &[u64], empty_ms: &[u64], expect: bool) {
        let spans = |of: &[u64]| of.iter().copied().map(Duration::from_millis).collect();
        let starts = Starts { returns: spans(returns_ms), empty: spans(empty_ms) };
        assert_eq!(starts.judge().is_ok(), expect, "{starts}");
    }

    #[test]
    fn a_return_is_late_only_where_an_empty_server_is_not() {
        check(&[300, 400, 9000], &[100], true);
        check(&[2000], &[10], true);
        check(&[2001], &[10], false);
        check(&[300, 2100, 2100], &[500], false);
        check(&[300, 2100, 2100], &[600], true);
        check(&[9000, 9000], &[1000, 3000], false);
        check(&[9000, 9000], &[3000, 3000], true);
    }

    #[test]
    fn nothing_measured_is_nothing_late() {
        check(&[], &[], true);
        check(&[], &[100], true);
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let spans: Vec<_> = (1..=20).rev().map(Duration::from_millis).collect();
        let at = |percent| quantile(&spans, percent).map(|span| span.as_millis());
        assert_eq!((at(50), at(95), at(100)), (Some(10), Some(19), Some(20)));
        assert_eq!(quantile(&[], 50), None);
    }

    #[test]
    fn empty_starts_are_spread_over_a_run() {
        let mut starts = Starts::default();
        let due: Vec<bool> = (0..6).map(|_| starts.returned(Duration::ZERO)).collect();
        assert_eq!(due, [true, false, false, false, true, false]);
    }
}
