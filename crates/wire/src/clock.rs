//! What the rest of the system needs of a clock, so that tests can hold one.

/// A source of time. Two hands, because they answer different questions:
/// what to print, and how long is left.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock milliseconds since the Unix epoch. May jump either way: print it, never subtract it.
    fn wall_ms(&self) -> u64;

    /// Milliseconds since this host booted, suspend included (`CLOCK_BOOTTIME`). Never jumps.
    fn boot_ms(&self) -> u64;
}
