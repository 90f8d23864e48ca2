//! The terminal this program was started in.

use std::io;

use anyhow::{Result, bail};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// That standard input is a terminal.
///
/// # Errors
/// When it is not.
pub fn required() -> Result<()> {
    if !isatty(io::stdin()) {
        bail!(
            "standard input is not a terminal, which -t needs; leave it out, or use -i alone to pass input on"
        );
    }
    Ok(())
}

/// Its size, if it has one.
pub fn size() -> Option<Size> {
    let size = tcgetwinsize(io::stdin()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some(Size { cols: size.ws_col, rows: size.ws_row })
}

/// The width of the terminal that answers are written to, if it is one.
pub fn columns() -> Option<usize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// A terminal that passes every key on as it is, and shows every byte as it comes.
///
/// It is itself again when this is dropped, which a panic does too.
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes it so.
    ///
    /// # Errors
    /// When standard input is no terminal, or has gone away.
    pub fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that has gone away needs nothing any more.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
