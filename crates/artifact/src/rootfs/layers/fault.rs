//! Why a layer cannot be applied, in words for whoever made it.

use std::fmt;
use std::io;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Bytes of an entry's name that a reason repeats.
const NAME_BYTES_SHOWN: usize = 200;

/// What is wrong with a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Fault {
    /// The entry it was found at, escaped.
    pub entry: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl Fault {
    /// This reason, of no entry yet.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { entry: None, reason: reason.into() }
    }

    /// The same, found at this entry, unless a nearer one is known.
    #[must_use]
    pub fn at(mut self, name: &[u8]) -> Self {
        self.entry.get_or_insert_with(|| escaped(name));
        self
    }

    /// A system call that failed: a verb, to follow "cannot".
    pub(super) fn call(verb: &str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::new(format!("cannot {verb}: {}", io::Error::from(errno)))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "entry `{entry}`: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// A name as one line of printable characters, cut where it is long.
pub(super) fn escaped(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) if name.len() <= NAME_BYTES_SHOWN => text.escape_debug().to_string(),
        _ if name.len() <= NAME_BYTES_SHOWN => name.escape_ascii().to_string(),
        _ => format!("{}…", name[..NAME_BYTES_SHOWN].escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_as_one_line_of_bounded_length() {
        assert_eq!(escaped("größe".as_bytes()), "größe");
        assert_eq!(escaped(b"a\nb\x1b[2J\xff"), r"a\nb\x1b[2J\xff");
        assert_eq!(escaped("a\nb\u{1b}".as_bytes()), r"a\nb\u{1b}");
        assert!(escaped(&[0; 5000]).len() < 1000);
    }

    #[test]
    fn the_entry_nearest_to_the_failure_is_named() {
        let fault = Fault::new("is wrong").at(b"near").at(b"far");
        assert_eq!(fault.to_string(), "entry `near`: is wrong");
    }
}
