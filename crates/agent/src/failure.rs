//! What the kernel says, in the words of the protocol.

use std::fmt::Display;
use std::io;

use rustix::io::Errno;
use wire::guest::{Error, ErrorCode};

/// The failure `error` of something done to `subject` (a path, a program).
pub fn of(subject: impl Display, error: impl Into<io::Error>) -> Error {
    let error = error.into();
    Error::new(code(&error), format!("{subject}: {}", text(&error)))
}

/// An [`ErrorCode::Invalid`] with this message.
pub fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Invalid, message)
}

/// The answer to a request that the node cancelled.
pub fn cancelled() -> Error {
    Error::new(ErrorCode::Cancelled, "the request was cancelled")
}

fn code(error: &io::Error) -> ErrorCode {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => ErrorCode::NotFound,
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => ErrorCode::PermissionDenied,
        Some(Errno::ISDIR) => ErrorCode::IsADirectory,
        Some(Errno::NOTDIR) => ErrorCode::NotADirectory,
        Some(Errno::EXIST) => ErrorCode::AlreadyExists,
        Some(Errno::NOTEMPTY) => ErrorCode::NotEmpty,
        Some(Errno::BUSY) => ErrorCode::WrongState,
        Some(Errno::NOSPC | Errno::DQUOT) => ErrorCode::DiskFull,
        Some(Errno::TOOBIG | Errno::FBIG) => ErrorCode::TooLarge,
        Some(Errno::INVAL | Errno::NAMETOOLONG | Errno::LOOP | Errno::NOEXEC) => ErrorCode::Invalid,
        _ => ErrorCode::Io,
    }
}

/// The kernel's words, without the number that `io::Error` adds.
pub fn text(error: &io::Error) -> String {
    let full = error.to_string();
    let text = full.split(" (os error").next().unwrap_or(&full);
    let mut letters = text.chars();
    // "Is a directory" becomes "is a directory": it stands in the middle of a sentence.
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_subject_and_the_kernels_words() {
        let directory = of("/tmp", Errno::ISDIR);
        assert_eq!(
            (directory.code, directory.message.as_str()),
            (ErrorCode::IsADirectory, "/tmp: is a directory")
        );
        assert_eq!(of("/x", Errno::DQUOT).code, ErrorCode::DiskFull);
        assert_eq!(of("/x", io::Error::other("odd")).code, ErrorCode::Io);
    }
}
