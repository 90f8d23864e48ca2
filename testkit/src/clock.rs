//! A clock the test sets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wire::clock::Clock;

/// When a test's clock starts, in Unix milliseconds: 2030-01-01.
const START_WALL_MS: u64 = 1_893_456_000_000;
/// How long its host has been up then, in milliseconds.
const START_BOOT_MS: u64 = 1_000_000;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    wall_ms: AtomicU64,
    boot_ms: AtomicU64,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self { wall_ms: AtomicU64::new(START_WALL_MS), boot_ms: AtomicU64::new(START_BOOT_MS) }
    }
}

impl ManualClock {
    /// Time passes, on both hands.
    pub fn advance(&self, by: Duration) {
        let by_ms = by.as_millis() as u64;
        self.wall_ms.fetch_add(by_ms, Ordering::SeqCst);
        self.boot_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.wall_ms.store(wall_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn boot_ms(&self) -> u64 {
        self.boot_ms.load(Ordering::SeqCst)
    }
}
