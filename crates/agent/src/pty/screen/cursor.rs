//! Where and how the next letter is written.

use super::Size;
use super::style::Style;

/// What `DECSC` keeps and `DECRC` brings back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    /// From 0.
    pub row: u16,
    /// From 0.
    pub column: u16,
    /// The last column is written, and the next letter goes to the next row.
    pub wraps: bool,
    /// How letters look.
    pub style: Style,
    /// Whether positions count from the region that scrolls.
    pub origin: bool,
    /// What letters mean.
    pub charsets: Charsets,
}

impl Cursor {
    /// Brings it back onto a screen of this size.
    pub fn confine(&mut self, size: Size) {
        self.row = self.row.min(size.rows - 1);
        self.column = self.column.min(size.columns - 1);
        self.wraps = false;
    }

    /// Brings it back into the region, if positions count from that.
    pub fn keep_in(&mut self, top: u16, bottom: u16) {
        if self.origin {
            self.row = self.row.clamp(top, bottom);
        }
    }
}

/// The two sets of letters a program can switch between (`SI`, `SO`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charsets {
    /// Whether each draws lines instead of small letters.
    pub draws_lines: [bool; 2],
    /// Which is in use.
    pub shifted: bool,
}

/// What `_` to `~` are in the set that draws lines (`DEC Special Graphics`).
const LINES: [char; 32] = [
    ' ', '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼', '⎽',
    '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

impl Charsets {
    /// The letter that is meant.
    pub fn translate(&self, letter: char) -> char {
        let index = (letter as usize).wrapping_sub('_' as usize);
        if self.draws_lines[usize::from(self.shifted)] {
            *LINES.get(index).unwrap_or(&letter)
        } else {
            letter
        }
    }
}
