//! Directories that are watched: what happens in them is told as it happens.
//!
//! ```text
//! node  -> agent   Open {watch}
//! agent -> node    Head watching         every watch stands: what happens from now on is told
//! agent -> node    Data                  a Change a line, JSON, in the order the kernel saw them
//! agent -> node    End                   the directory is gone (Done::Nothing), or the watch cannot be kept (an error)
//! ```
//!
//! The kernel is never made to wait for a listener, and nothing is lost without a word: what a listener has not taken
//! is kept up to [`QUEUE_BYTES_MAX`], and then a [`Change::Rescan`] stands for all that came until the listener has
//! taken it. The same word is said when the kernel's own queue overflows.
//!
//! In a new directory things may happen before anybody can watch it. So when its watch stands, what is in it by then is
//! told as created, each once.
//!
//! **What kernels differ in.** The stories of watches are the same on Linux and on gVisor, and so is what is told. What
//! neither tells is what happens through another mount of the same directory or through a memory mapping, and on gVisor
//! what is changed from outside of the sandbox, which nothing of ours does. gVisor may say what was created a moment after
//! it can be seen, which the agent allows for.

use serde::{Deserialize, Serialize};

use crate::sandbox::limits::PATH_BYTES_MAX;

/// Watches of one sandbox at once.
pub const WATCHES_MAX: usize = 32;
/// Directories that all watches of a sandbox watch together.
pub const DIRECTORIES_MAX: usize = 32 * 1024;
/// Levels below the directory that is watched.
pub const DEPTH_MAX: usize = 256;
/// What is kept for a listener that has not taken it, in bytes of lines.
pub const QUEUE_BYTES_MAX: usize = 512 * 1024;
/// How long the first half of a move waits for its second, in milliseconds, before it is told as a deletion.
pub const MOVE_WAIT_MS: u64 = 100;
/// A line, in bytes, at most: two paths with every byte escaped.
pub const LINE_BYTES_MAX: usize = 2 * 6 * (PATH_BYTES_MAX + NAME_BYTES_MAX) + 128;

/// A name in a directory, in bytes: it may stand at the end of a path as long as paths may be.
const NAME_BYTES_MAX: usize = 256;

const _: () = assert!(LINE_BYTES_MAX < super::frame::DATA_BYTES_MAX && LINE_BYTES_MAX < QUEUE_BYTES_MAX);

/// A directory to watch. Head: [`super::Head::Watching`] when every watch stands, then Data on
/// [`super::frame::Channel::Stdout`]: a [`Change`] a line, until cancelled. Ends with [`super::Done::Nothing`] when the
/// directory itself is gone, deleted or moved, and with [`super::ErrorCode::TooMany`] when there are more directories
/// than can be watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Which; links are followed.
    pub path: String,
    /// Also its directories, those to come included. Links are not followed, and what the kernel makes up (`/proc`) is not
    /// entered unless it is asked for.
    pub recursive: bool,
    /// Names (shell patterns) to leave out, directories with all that is in them.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// Something that happened in a watched directory. Paths are absolute; names that are not UTF-8 are shown with
/// replacement characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Change {
    /// It is there now: made, linked, or moved in from where nobody watches.
    Created {
        /// Which.
        path: String,
        /// Whether it is a directory.
        is_dir: bool,
    },
    /// The content of a file was changed. Several in a row may be told as one.
    Modified {
        /// Which.
        path: String,
    },
    /// A file that was open for writing was closed: whoever wrote it has finished.
    Written {
        /// Which.
        path: String,
    },
    /// Its permissions, owner, times or links were changed.
    Attributes {
        /// Which.
        path: String,
        /// Whether it is a directory.
        is_dir: bool,
    },
    /// It has another path now, and so has all that is in it. What had that path is no more.
    Moved {
        /// Its path before.
        from: String,
        /// Its path now.
        to: String,
        /// Whether it is a directory.
        is_dir: bool,
    },
    /// It is gone, with all that was in it: deleted, or moved to where nobody watches.
    Deleted {
        /// Which.
        path: String,
        /// Whether it was a directory.
        is_dir: bool,
    },
    /// More happened than could be told: look at everything again. What happens after this is told again.
    Rescan,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_line_has_room() {
        let path = "\u{1}".repeat(PATH_BYTES_MAX + NAME_BYTES_MAX);
        let moved = Change::Moved { from: path.clone(), to: path, is_dir: false };
        assert!(serde_json::to_vec(&moved).unwrap().len() < LINE_BYTES_MAX);
    }
}
