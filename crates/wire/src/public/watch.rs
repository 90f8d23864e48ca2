//! Directories of a sandbox that are watched.
//!
//! `…/filesystem/watch` answers with Server-Sent Events: the `data:` of each is a [`WatchEvent`], and its `id:` is the
//! event's number, [`WatchEvent::seq`], which counts from 0 in each stream.
//!
//! Event 0 is `ready`: whoever looks at the directory after it, and takes what comes, misses nothing. A stream cannot be
//! taken up again: who lost it watches again, and looks again after `ready`. The last event is `gone` or `error`; a
//! stream that ends without either failed.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::schema::{Path, Pattern};

/// A directory to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WatchFiles {
    /// Which; links are followed.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub path: String,
    /// Also its directories, those to come included. Absent: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
    /// As in listing files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<Pattern>>"))]
    pub exclude: Option<Vec<String>>,
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WatchEvent {
    /// Its number in this stream.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: WatchEventKind,
}

/// What happened in a watched directory, or to the watch. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WatchEventKind {
    /// The watch stands: what happens from now on is told.
    Ready,
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
    /// The watched directory itself is gone, deleted or moved. The last event.
    Gone,
    /// The watch is lost, with its sandbox or without. The last event.
    Error {
        /// As in an error body.
        code: String,
        /// For people.
        message: String,
    },
}
