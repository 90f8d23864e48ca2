//! What programs switch on and off: modes by their numbers (xterm's control sequences).

use std::io::Write;

/// Modes of `CSI ? … h` that are either on or off, and how they are at first: application cursor keys, reverse video,
/// wrapping, a blinking cursor, a cursor, focus events, scroll keys on the alternate screen, bracketed paste.
const PRIVATE: [(u16, bool); 8] = [
    (1, false),
    (5, false),
    (AUTOWRAP, true),
    (12, false),
    (25, true),
    (1004, false),
    (1007, false),
    (2004, false),
];
/// Mouse reports: the last that was switched on is in force.
const MOUSE: [u16; 4] = [9, 1000, 1002, 1003];
/// How mouse reports are written; likewise.
const MOUSE_ENCODING: [u16; 4] = [1005, 1006, 1015, 1016];

/// The mode in which letters beyond the last column go to the next row.
const AUTOWRAP: u16 = 7;
/// The last shape of a cursor (`DECSCUSR`): a steady bar.
const SHAPE_MAX: u16 = 6;

/// How all modes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modes {
    private: [bool; PRIVATE.len()],
    mouse: Option<u16>,
    mouse_encoding: Option<u16>,
    /// Letters push those after them on (`IRM`).
    pub inserts: bool,
    /// A line feed also returns to the first column (`LNM`).
    pub line_feed_returns: bool,
    /// Application keypad (`DECKPAM`).
    pub keypad: bool,
    shape: u16,
}

impl Default for Modes {
    fn default() -> Self {
        Self {
            private: PRIVATE.map(|(_, at_first)| at_first),
            mouse: None,
            mouse_encoding: None,
            inserts: false,
            line_feed_returns: false,
            keypad: false,
            shape: 0,
        }
    }
}

impl Modes {
    /// `CSI ? mode h` and `l`. What is not known is passed over.
    pub fn set_private(&mut self, mode: u16, on: bool) {
        if let Some(index) = PRIVATE.iter().position(|(number, _)| *number == mode) {
            self.private[index] = on;
        } else if MOUSE.contains(&mode) {
            self.mouse = on.then_some(mode);
        } else if MOUSE_ENCODING.contains(&mode) {
            self.mouse_encoding = on.then_some(mode);
        }
    }

    /// `CSI mode h` and `l`.
    pub fn set_ansi(&mut self, mode: u16, on: bool) {
        match mode {
            4 => self.inserts = on,
            20 => self.line_feed_returns = on,
            _ => {}
        }
    }

    /// `CSI shape SP q`.
    pub fn set_shape(&mut self, shape: u16) {
        if shape <= SHAPE_MAX {
            self.shape = shape;
        }
    }

    /// Whether letters beyond the last column go to the next row.
    pub fn wraps(&self) -> bool {
        PRIVATE.iter().zip(self.private).any(|((number, _), on)| *number == AUTOWRAP && on)
    }

    /// Appends what sets every mode to how it is here, whatever it was before.
    pub fn write(&self, out: &mut Vec<u8>) {
        let private = PRIVATE.iter().zip(self.private).map(|((number, _), on)| (*number, on));
        let off = MOUSE.iter().chain(&MOUSE_ENCODING).map(|number| (*number, false));
        let mouse = [self.mouse, self.mouse_encoding].into_iter().flatten().map(|number| (number, true));
        for (number, on) in private.chain(off).chain(mouse) {
            // Writing to memory cannot fail, here and below.
            let _ = write!(out, "\x1b[?{number}{}", letter(on));
        }
        let (inserts, returns) = (letter(self.inserts), letter(self.line_feed_returns));
        let keypad = if self.keypad { '=' } else { '>' };
        let _ = write!(out, "\x1b[4{inserts}\x1b[20{returns}\x1b{keypad}\x1b[{} q", self.shape);
    }
}

fn letter(on: bool) -> char {
    if on { 'h' } else { 'l' }
}
