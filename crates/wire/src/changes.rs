//! How whoever was allowed something by control sees that it may not be so any more, without asking again.
//!
//! Control writes down that something changed in a file of [`COUNTERS`] counters, when the change is in its store and before
//! anybody is told of it. Each sandbox has one of them, which it may share with others; what concerns all is written to all.
//! An answer of control's holds as long as the counter is what it was before the question was asked, on the same host: a
//! counter never has a value twice, and whoever was told of a change is never ahead of who reads it here.

use crate::id::SandboxId;

/// So many counters: some thousand sandboxes that are busy with themselves do not disturb each other much.
pub const COUNTERS: usize = 4096;
/// Bytes of a counter, little-endian.
pub const COUNTER_BYTES: usize = 8;
/// Bytes of the file.
pub const FILE_BYTES: usize = COUNTERS * COUNTER_BYTES;

/// Where a sandbox's counter begins in the file, in bytes.
pub fn offset(sandbox: &SandboxId) -> u64 {
    // FNV-1a: ids are random, and this only has to spread them.
    let hash = sandbox.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash % COUNTERS as u64 * COUNTER_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandboxes_are_spread_over_all_counters_and_none_beyond() {
        let offsets = (0..=u8::MAX).flat_map(|one| (0..32).map(move |two| (one, two))).map(|(one, two)| {
            let mut entropy = [two; crate::id::ENTROPY_BYTES];
            entropy[7] = one;
            offset(&SandboxId::from_entropy(entropy))
        });
        let distinct: std::collections::HashSet<u64> = offsets.collect();
        assert!(distinct.iter().all(|offset| offset % 8 == 0 && *offset < FILE_BYTES as u64));
        assert!(distinct.len() > 500, "{}", distinct.len());
    }
}
