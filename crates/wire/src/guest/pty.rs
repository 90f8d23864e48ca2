//! Terminals: a shell, or any program, on a pseudo-terminal that stays when its viewers leave.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Command;

/// Terminals of one sandbox at once.
pub const PTYS_MAX: usize = 64;
/// Columns and rows, each, at most.
pub const SIDE_MAX: u16 = 1000;
/// Columns times rows, at most.
pub const CELLS_MAX: u32 = 200_000;
/// Columns times rows of all terminals of a sandbox together, at most.
pub const CELLS_SUM_MAX: u32 = 1_000_000;
/// All terminals as a JSON list, in bytes, at most: it must fit into a message.
pub const LIST_BYTES_MAX: usize = 512 * 1024;

const _: () = assert!(LIST_BYTES_MAX < super::frame::AGENT_MESSAGE_BYTES_MAX);

/// Bytes of an id, which may be any text but NUL.
pub const ID_BYTES_MAX: usize = 256;
/// A viewer that takes nothing for so long, in seconds, while the terminal waits for it, is let go.
pub const STALL_SECONDS_MAX: u64 = 30;

/// What can be done with terminals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum PtyCall {
    /// Makes one. Ends with [`super::Done::Ptys`] of one.
    Open(PtySpec),
    /// Views one, and types into it: Head [`super::Head::Pty`], then Data on [`super::frame::Channel::Stdout`] (first what
    /// redraws the present screen) and on [`super::frame::Channel::Stdin`]. A lazy one starts here.
    ///
    /// Ends with [`super::Done::Exec`] when the program has ended, and with [`super::ErrorCode::Stalled`] for a viewer
    /// that is let go; `Cancel` ends the viewing alone.
    Attach {
        /// Which.
        id: String,
    },
    /// Changes its size and tells the program (`SIGWINCH`). Ends with [`super::Done::Ptys`] of one.
    Resize {
        /// Which.
        id: String,
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// All of them, in the order they were made. Ends with [`super::Done::Ptys`].
    List,
    /// One of them. Ends with [`super::Done::Ptys`] of one.
    Get {
        /// Which.
        id: String,
    },
    /// Kills its program, with all of its session, and forgets it. Ends with [`super::Done::Nothing`].
    Close {
        /// Which.
        id: String,
    },
}

/// A terminal to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PtySpec {
    /// Its id, which no other terminal of the sandbox has.
    pub id: String,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Where the program starts; relative to the workdir. Absent: the workdir.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Added to the sandbox's environment, and to `TERM=xterm-256color`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// As whom, as in [`super::Exec::user`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What runs in it. Absent: the user's shell, as a login shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// Whether the program starts when the first viewer comes, and not before.
    pub lazy: bool,
}

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PtyInfo {
    /// Its id.
    pub id: String,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Where the program starts.
    pub cwd: String,
    /// As in [`PtySpec::env`].
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// When it was made, in wall-clock milliseconds.
    pub created_at_ms: u64,
    /// Whether its program runs.
    pub active: bool,
    /// As in [`PtySpec::lazy`].
    pub lazy: bool,
}
