//! Trying again: how often, and after what pause.

use std::time::Duration;

use http::{HeaderMap, header};
use ring::rand::{SecureRandom, SystemRandom};

use crate::oci::failure::{Pulled, Trouble, unreachable};
use crate::oci::settings::Patience;

/// Counts tries that brought nothing. One that brought something makes the count begin again.
#[derive(Debug)]
pub(crate) struct Retries {
    patience: Patience,
    failures: u32,
    reached: u64,
}

impl Retries {
    /// `reached` says how far things are.
    pub(crate) fn new(patience: Patience, reached: u64) -> Self {
        Self { patience, failures: 0, reached }
    }

    /// Waits until there may be another try. An error if there should be none.
    pub(crate) async fn pause(&mut self, trouble: Trouble, reached: u64) -> Pulled<()> {
        let (message, asked) = match trouble {
            Trouble::Final(failure) => return Err(failure),
            Trouble::Passing { message, pause } => (message, pause),
        };
        self.failures = if reached > self.reached { 1 } else { self.failures + 1 };
        self.reached = reached;
        let failures = self.failures;
        let Some(pause) = pause_before(&self.patience, failures, asked) else {
            return Err(unreachable(format!("{message} (after {failures} tries)")));
        };
        tracing::info!(failures, pause_ms = pause.as_millis() as u64, "trying again: {message}");
        tokio::time::sleep(jittered(pause, drawn())).await;
        Ok(())
    }
}

/// Between half of a pause and all of it, so that those who failed together do not come again together.
fn jittered(pause: Duration, drawn: u8) -> Duration {
    pause / 2 + pause.mul_f64(f64::from(drawn) / 255.0) / 2
}

/// A random number. Without any, nothing is worse than without the jitter.
fn drawn() -> u8 {
    let mut byte = [u8::MAX];
    let _ = SystemRandom::new().fill(&mut byte);
    byte[0]
}

/// The pause after so many failures in a row; none when there should be no other try.
fn pause_before(patience: &Patience, failures: u32, asked: Option<Duration>) -> Option<Duration> {
    if failures > patience.retries_max {
        return None;
    }
    let own = patience.pause.saturating_mul(1 << (failures - 1).min(16));
    Some(own.max(asked.unwrap_or_default()).min(patience.pause_max))
}

/// The pause that `Retry-After` asks for, where it does so in seconds.
pub(crate) fn pause_asked(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        connect: Duration::from_secs(1),
        answer: Duration::from_secs(1),
        window: Duration::from_secs(1),
        window_bytes_min: 1,
        retries_max: 3,
        pause: Duration::from_millis(100),
        pause_max: Duration::from_millis(350),
    };

    #[test]
    fn pauses_grow_up_to_a_bound_and_end() {
        let pauses: Vec<_> = (1..=4).map(|failures| pause_before(&PATIENCE, failures, None)).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(pauses, [ms(100), ms(200), ms(350), None]);
        assert_eq!(pause_before(&PATIENCE, 1, ms(300)), ms(300));
        assert_eq!(pause_before(&PATIENCE, 1, Some(Duration::from_secs(3600))), ms(350));
        assert_eq!(pause_before(&PATIENCE, 3, ms(1)), ms(350));
    }

    #[test]
    fn of_a_pause_at_least_half_is_kept() {
        let pause = Duration::from_millis(100);
        let ms: Vec<_> = [0, 128, 255].map(|drawn| jittered(pause, drawn).as_millis()).into();
        assert_eq!(ms, [50, 75, 100]);
    }

    #[tokio::test]
    async fn a_try_that_brings_something_starts_the_count_again() {
        let at_once = Patience { pause: Duration::ZERO, ..PATIENCE };
        let mut retries = Retries::new(at_once.clone(), 0);
        for tries in 1..100 {
            retries.pause(Trouble::passing("no"), tries / 3).await.unwrap();
        }
        let mut retries = Retries::new(at_once, 0);
        for _ in 0..3 {
            retries.pause(Trouble::passing("no"), 0).await.unwrap();
        }
        let failure = retries.pause(Trouble::passing("no"), 0).await.unwrap_err();
        assert_eq!(failure.message, "no (after 4 tries)");
    }
}
