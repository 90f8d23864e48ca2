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

const _: () = assert!(JSON_BYTES_MAX as usize > crate::sandbox::limits::COMMAND_BYTES_MAX * 3 / 2);
