//! Why no image comes of a pull: in the words the one who asked for it reads.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use wire::node::{PullFailure, PullFailureCode};

use crate::Error;

/// What programs say when the disk is full.
const NO_SPACE: &str = "No space left on device";

/// What the steps of a pull return.
pub(crate) type Pulled<T> = Result<T, PullFailure>;

/// What one try of something returns when it fails.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another try may help.
    Passing {
        /// What happened.
        message: String,
        /// How long the registry wants to be left alone.
        pause: Option<Duration>,
    },
    /// No other try will.
    Final(PullFailure),
}

impl Trouble {
    pub(crate) fn passing(message: impl Into<String>) -> Self {
        Self::Passing { message: message.into(), pause: None }
    }
}

impl From<PullFailure> for Trouble {
    fn from(failure: PullFailure) -> Self {
        Self::Final(failure)
    }
}

fn failure(code: PullFailureCode, message: impl Into<String>) -> PullFailure {
    PullFailure { code, message: message.into() }
}

pub(crate) fn refused(message: impl Into<String>) -> PullFailure {
    failure(PullFailureCode::Refused, message)
}

pub(crate) fn not_found(message: impl Into<String>) -> PullFailure {
    failure(PullFailureCode::NotFound, message)
}

pub(crate) fn unauthorized(message: impl Into<String>) -> PullFailure {
    failure(PullFailureCode::Unauthorized, message)
}

pub(crate) fn unreachable(message: impl Into<String>) -> PullFailure {
    failure(PullFailureCode::Unreachable, message)
}

pub(crate) fn invalid(message: impl Into<String>) -> PullFailure {
    failure(PullFailureCode::InvalidImage, message)
}

pub(crate) fn internal(message: impl Into<String>) -> PullFailure {
    failure(PullFailureCode::Internal, message)
}

/// What our own disk and programs failed with.
pub(crate) fn own(error: &Error) -> PullFailure {
    let code = if is_disk_full(error) { PullFailureCode::DiskFull } else { PullFailureCode::Internal };
    failure(code, wire::causes::chain(error))
}

/// A failure of our own disk, with what was being done.
pub(crate) fn disk(what: &str, error: &io::Error) -> PullFailure {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let code = if full { PullFailureCode::DiskFull } else { PullFailureCode::Internal };
    failure(code, format!("cannot {what}: {error}"))
}

/// An error, what caused it, and so on.
pub(crate) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

/// Whether it is for want of room on our disk.
pub(crate) fn is_disk_full(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => {
            matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        }
        Error::ProgramFailed { last_words, .. } => last_words.contains(NO_SPACE),
        Error::Layer { fault, .. } => fault.to_string().contains(NO_SPACE),
        _ => false,
    }
}
