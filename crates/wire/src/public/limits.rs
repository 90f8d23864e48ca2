//! Bounds of requests themselves; those of sandboxes are in [`crate::sandbox::limits`].

/// A JSON body, in bytes, at most: room for the longest command, escaped.
pub const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Characters of an `Idempotency-Key`, all visible ASCII.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// Items on a page where nobody says.
pub const PAGE_SIZE: u32 = 20;
/// Items on a page.
pub const PAGE_SIZE_MAX: u32 = 100;
/// Pages.
pub const PAGE_MAX: u32 = 1_000_000;
/// Files that one request reads, or edits.
pub const FILES_MAX: usize = 1000;
/// Edits of one file in one request.
pub const EDITS_MAX: usize = 1000;
/// Snapshots of a team.
pub const SNAPSHOTS_PER_TEAM_MAX: u64 = 1000;
/// Characters of a snapshot's name.
pub const SNAPSHOT_NAME_CHARS: std::ops::RangeInclusive<usize> = 1..=64;
/// Copies of a sandbox that one request makes.
pub const FORK_COUNT: std::ops::RangeInclusive<u32> = 1..=64;
/// Levels of a tree.
pub const TREE_DEPTH: std::ops::RangeInclusive<u32> = 1..=256;

const _: () = assert!(JSON_BYTES_MAX as usize > crate::sandbox::limits::COMMAND_BYTES_MAX * 3 / 2);
