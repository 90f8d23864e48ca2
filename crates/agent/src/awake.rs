//! Time that passes while the machine runs.
//!
//! The clocks inside go on while a machine is paused, so that a command which was given ten seconds would have had them
//! when it wakes. What is counted here is counted in short pieces, and a pause is no longer than one of them.

use std::time::Duration;

use tokio::time::Instant;

/// A piece, and the most that a pause takes of anybody's time.
const PIECE: Duration = Duration::from_secs(1);

/// Waits until the machine has run for so long.
pub async fn sleep(mut left: Duration) {
    run_down(&mut left).await;
}

/// The same; given up, it says what is left, to a piece.
pub async fn run_down(left: &mut Duration) {
    while !left.is_zero() {
        let (piece, began) = ((*left).min(PIECE), Instant::now());
        tokio::time::sleep(piece).await;
        *left = left.saturating_sub(began.elapsed().min(PIECE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_gap_in_the_clock_is_no_more_than_a_piece() {
        let began = Instant::now();
        let sleeping = tokio::spawn(sleep(10 * PIECE));
        tokio::task::yield_now().await;
        tokio::time::advance(3600 * PIECE).await;
        sleeping.await.unwrap();
        assert!(began.elapsed() >= 3609 * PIECE, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_when_it_is_given_up_is_known() {
        let mut left = 10 * PIECE;
        assert!(tokio::time::timeout(PIECE * 9 / 2, run_down(&mut left)).await.is_err());
        assert!((5 * PIECE..=6 * PIECE).contains(&left), "{left:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_gap_it_is_the_time_that_was_asked_for() {
        let began = Instant::now();
        sleep(PIECE * 5 / 2).await;
        assert!((PIECE * 5 / 2..PIECE * 3).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}
