//! What can go wrong with snapshots. Apart from [`crate::Error`], because who asks for a snapshot does other things
//! about each: another disk, another key, another snapshot, another try.

use std::io;
use std::path::Path;

use super::facts::Root;

/// What operations on snapshots return.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure. `Display` says its own part and what helps; the source is the cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {what}")]
    Io {
        /// What was being done, with the path it was done to.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// No room. Nothing of what was being written is kept.
    #[error("cannot {what}: the disk is full; what was there before is untouched: make room and try again")]
    Full {
        /// What was being done, with the path it was done to.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The directory has something that a snapshot cannot have.
    #[error("{path} cannot be part of a snapshot: {why}")]
    Unsuited {
        /// What it is about.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such snapshot.
    #[error("there is no snapshot {root} in {place}")]
    NotFound {
        /// Which.
        root: Root,
        /// Where it was looked for.
        place: String,
    },
    /// Its bytes are not what was stored.
    #[error(
        "{what} is damaged: {why}; nothing was made of it. Take another snapshot, or bring this object back from a copy"
    )]
    Damaged {
        /// What is.
        what: String,
        /// How that is known.
        why: String,
    },
    /// What a snapshot needs has gone from the store.
    #[error(
        "{what} is missing in {place}; nothing was made of the snapshot. Take another one, or bring this object back from a copy"
    )]
    Missing {
        /// What is.
        what: String,
        /// Where it was looked for.
        place: String,
    },
    /// The key ring does not have a key.
    #[error(
        "{what} is sealed with the key {key:?}, which the secrets key file does not have: put its line back, after the first"
    )]
    NoKey {
        /// What is sealed with it.
        what: String,
        /// The key's id.
        key: String,
    },
    /// The key ring has another key of this name.
    #[error(
        "{what} is sealed with another key than the one that the secrets key file calls {key:?}: put the right one in its line"
    )]
    WrongKey {
        /// What is sealed.
        what: String,
        /// The key's id.
        key: String,
    },
    /// The store itself is not there.
    #[error("{place} is no store of snapshots any more: {why}; mount or bring it back, and open it again")]
    Lost {
        /// Where it should be.
        place: String,
        /// What was found.
        why: String,
    },
    /// The store was written by a build with another layout.
    #[error(
        "{place} has snapshots of layout {found:?} and this build reads layout {ours:?}; move it away, or use the build that wrote it"
    )]
    Layout {
        /// Where.
        place: String,
        /// What its `format` says.
        found: String,
        /// What it should say.
        ours: &'static str,
    },
    /// What was asked of the store is against its rules, now and later.
    #[error("{place} refuses: {why}")]
    Refused {
        /// Which store.
        place: String,
        /// What it said.
        why: String,
    },
    /// The store did not answer as it should, each time it was asked.
    #[error("{place} cannot be reached: {why}; what it has acknowledged is still there: try again later")]
    Unreachable {
        /// Which store.
        place: String,
        /// What happened last.
        why: String,
    },
    /// What others took away while this was being stored had to be stored anew, again and again.
    #[error(
        "what {root} shares with others was taken away by a collection each of {tries} times; try again when that has ended"
    )]
    Overtaken {
        /// What was being stored.
        root: Root,
        /// How often it was tried.
        tries: u32,
    },
    /// The settings cannot be used.
    #[error("the settings of the snapshot store cannot be used: {problem}")]
    Settings {
        /// What is wrong with which.
        problem: String,
    },
}

impl Error {
    /// An I/O failure, with what was being done: a verb, to follow "cannot", and the path.
    pub(super) fn io(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let what = format!("{verb} {}", path.display());
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { what, source },
            _ => Self::Io { what, source },
        }
    }

    pub(super) fn damaged(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), why: why.into() }
    }

    /// Whether it is for want of room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}
