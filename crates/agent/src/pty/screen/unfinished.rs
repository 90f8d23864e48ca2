//! The beginning of a sequence whose end has not come: a new viewer needs it to understand the rest.

use std::ops::RangeInclusive;

/// Bytes kept of it; of a longer one (a title, an image) the middle is left out.
pub const KEPT_BYTES_MAX: usize = 4096;

const ESCAPE: u8 = 0x1b;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;
/// Below are control characters, which act at once wherever they stand.
const FIRST_PRINTABLE: u8 = 0x20;
/// Bytes that begin a letter of several (UTF-8).
const FIRST_OF_SEVERAL: RangeInclusive<u8> = 0xc2..=0xf4;

/// See the module.
#[derive(Debug, Default)]
pub struct Unfinished(Vec<u8>);

impl Unfinished {
    /// A byte was read; `has_acted` if something came to its end with it.
    pub fn follow(&mut self, byte: u8, has_acted: bool) {
        if has_acted || matches!(byte, ESCAPE | CANCEL | SUBSTITUTE) {
            self.0.clear();
        }
        let begins = byte == ESCAPE || FIRST_OF_SEVERAL.contains(&byte);
        let goes_on = byte >= FIRST_PRINTABLE && !has_acted;
        if (begins || goes_on) && self.0.len() < KEPT_BYTES_MAX {
            self.0.push(byte);
        }
    }

    /// What there is of it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
