//! Processes that are known by an id: they outlive the connection that started them, what they say is kept for a while,
//! and anybody with the id can listen, speak, signal and wait.
//!
//! Each read of a process's output is one numbered piece, counted from 0 over both channels. The newest of them are kept,
//! [`KEPT_BYTES_MAX`] together, so that a listener who lost its connection goes on where it was.
//!
//! The stream that starts a process ([`super::Exec::id`]) is its first listener, as if it had said
//! [`ProcessCall::Attach`] from piece 0. With no listener a process never waits: what it says is forgotten in time.

use serde::{Deserialize, Serialize};

use super::ExecEnd;

/// Output kept of one process, in bytes, with a few for each piece; older pieces are forgotten first. Less is kept where
/// many processes say much.
pub const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// Processes with an id at once, those included that have ended and are not forgotten.
pub const PROCESSES_MAX: usize = 256;
/// Ended processes that are remembered; the one that ended first is forgotten first.
pub const ENDED_MAX: usize = 64;
/// Bytes of an id: letters, digits, `-`, `_` and `.`.
pub const ID_BYTES_MAX: usize = 64;
/// A listener that takes nothing for so long, in seconds, while the process waits for it, is let go.
pub const STALL_SECONDS_MAX: u64 = 30;

/// Whether a text can be the id of a process.
pub fn is_id(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_fit)
}

/// What can be done with a process that has an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum ProcessCall {
    /// Listens. Head: [`super::Head::Attached`], then its pieces, one Data frame each, and [`super::Done::Exec`].
    ///
    /// A process waits for its slowest listener; one that takes nothing for [`STALL_SECONDS_MAX`] meanwhile is let go with
    /// [`super::ErrorCode::Stalled`]. `Cancel` ends the listening alone.
    Attach {
        /// Which.
        id: String,
        /// The first piece to send. The Head names another one if this is forgotten (the oldest that is kept), or has not
        /// been said yet (the next).
        from: u64,
    },
    /// Sends Data on [`super::frame::Channel::Stdin`] to its input, until Eof. Ends with [`super::Done::Write`].
    Input {
        /// Which; it was started with `stdin`.
        id: String,
        /// Whether its input ends with this.
        close: bool,
    },
    /// Sends a signal to it and all of its group, as long as it lives itself. Ends with [`super::Done::Nothing`].
    Signal {
        /// Which.
        id: String,
        /// The signal's number.
        signal: i32,
    },
    /// Waits for its end. Ends with [`super::Done::Exec`].
    Wait {
        /// Which.
        id: String,
    },
    /// All that are known, in the order of their starts. Ends with [`super::Done::Processes`].
    List,
    /// One of them. Ends with [`super::Done::Processes`] of one.
    Get {
        /// Which.
        id: String,
    },
    /// Kills it, if it runs, and forgets it. Ends with [`super::Done::Nothing`].
    Forget {
        /// Which.
        id: String,
    },
}

/// A process with an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Its id.
    pub id: String,
    /// Its number inside the sandbox.
    pub pid: u32,
    /// What runs: the script, or the arguments with a space between them; cut after 1 KiB.
    pub command: String,
    /// Where it started.
    pub cwd: String,
    /// When, in wall-clock milliseconds.
    pub started_at_ms: u64,
    /// When it ended, if it did, in wall-clock milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<u64>,
    /// How it ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<ExecEnd>,
    /// The oldest piece of its output that is kept.
    pub first_piece: u64,
    /// The piece that comes next.
    pub next_piece: u64,
    /// Whether input can be sent to it.
    pub stdin: bool,
}
