//! Lines that contain a text.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use memchr::memmem::Finder;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use wire::guest::Error;
use wire::guest::file::{MATCH_BYTES_MAX, Match};

use crate::failure;
use crate::file::directory::Directory;
use crate::file::entry::{kind, shown};
use crate::file::pattern::{PATTERN_BYTES_MAX, Pattern};
use crate::file::telling::Lines;
use crate::file::tree::{self, Found, Rules};
use crate::file::{PIECE_BYTES, read};
use crate::root::Root;

/// Bytes at the beginning of a file in which a NUL says that it is no text. Git looks at as many.
pub const SAMPLE_BYTES: usize = 8000;

/// Looks for `pattern` in the text files below `path`, or in that file.
pub fn grep(
    root: &Root,
    path: &Path,
    pattern: &str,
    include: Option<&Pattern>,
    rules: &Rules,
    lines: &mut Lines,
) -> Result<(), Error> {
    if pattern.is_empty() || pattern.contains(['\n', '\0']) || pattern.len() > PATTERN_BYTES_MAX {
        let wanted = format!("1 to {PATTERN_BYTES_MAX} bytes of one line, without NUL");
        return Err(failure::invalid(format!("the text to look for must be {wanted}")));
    }
    let finder = Finder::new(pattern);
    let directory = match Directory::open(root, path) {
        Err(Errno::NOTDIR) => {
            let file = read::open(root, path)?;
            let path = shown(root, path);
            let outcome = scan(file, &finder, |line, content| say(lines, &path, line, content));
            return outcome.unwrap_or_else(|error| Err(failure::of(path.display(), error)));
        }
        opened => opened.map_err(|error| failure::of(path.display(), error))?,
    };
    tree::walk(root, path, directory, rules, |found| {
        lines.breathe()?;
        let is_wanted = include.is_none_or(|include| include.fits(found.candidate));
        let Some(file) = (is_wanted && found.kind == FileType::RegularFile).then(|| open(found)).flatten()
        else {
            return Ok(());
        };
        // What cannot be read is left out, as what cannot be opened is.
        scan(file, &finder, |line, content| say(lines, found.path, line, content)).unwrap_or(Ok(()))
    })
}

fn say(lines: &mut Lines, path: &Path, line: u64, content: &[u8]) -> Result<(), Error> {
    let content = String::from_utf8_lossy(content).into_owned();
    lines.say(&Match { path: path.to_string_lossy().into_owned(), line, content })?;
    lines.breathe()
}

/// A regular file that may be read.
fn open(found: &Found) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(found.directory, found.name, flags, Mode::empty()).ok()?;
    // Somebody may have put something else there meanwhile.
    let stat = rustix::fs::fstat(&fd).ok()?;
    (kind(&stat) == FileType::RegularFile).then(|| fd.into())
}

/// Says every line of a text that contains what is looked for: its number from 1, and how it begins.
fn scan(
    mut file: impl Read,
    finder: &Finder,
    mut say: impl FnMut(u64, &[u8]) -> Result<(), Error>,
) -> std::io::Result<Result<(), Error>> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut line = Line::new(finder);
    let mut is_first = true;
    loop {
        let length = match file.read(&mut piece) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let bytes = &piece[..length];
        let sample = &bytes[..length.min(SAMPLE_BYTES)];
        if std::mem::take(&mut is_first) && memchr::memchr(0, sample).is_some() {
            return Ok(Ok(()));
        }
        let said = if length == 0 { line.end(&mut say) } else { line.feed(bytes, &mut say) };
        if said.is_err() || length == 0 {
            return Ok(said);
        }
    }
}

/// The line that is being read. It may be longer than what is held of it.
struct Line<'a> {
    finder: &'a Finder<'a>,
    number: u64,
    is_match: bool,
    /// How it begins.
    shown: Vec<u8>,
    /// Its last bytes, where what is looked for may have begun.
    last: Vec<u8>,
}

type Say<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<(), Error>;

impl<'a> Line<'a> {
    fn new(finder: &'a Finder<'a>) -> Self {
        Self { finder, number: 1, is_match: false, shown: Vec::new(), last: Vec::new() }
    }

    /// Some bytes, with any number of line ends in them.
    fn feed(&mut self, mut bytes: &[u8], say: Say) -> Result<(), Error> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.add(&bytes[..end]);
            self.end(say)?;
            self.number += 1;
            bytes = &bytes[end + 1..];
        }
        self.add(bytes);
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = MATCH_BYTES_MAX.saturating_sub(self.shown.len());
        self.shown.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if self.is_match {
            return;
        }
        let overlap = self.finder.needle().len() - 1;
        self.last.extend_from_slice(&bytes[..bytes.len().min(overlap)]);
        self.is_match = self.finder.find(&self.last).is_some() || self.finder.find(bytes).is_some();
        if bytes.len() >= overlap {
            self.last.clear();
            self.last.extend_from_slice(&bytes[bytes.len() - overlap..]);
        }
        let surplus = self.last.len().saturating_sub(overlap);
        self.last.drain(..surplus);
    }

    /// It has ended.
    fn end(&mut self, say: Say) -> Result<(), Error> {
        let said = if self.is_match { say(self.number, self.content()) } else { Ok(()) };
        self.is_match = false;
        self.shown.clear();
        self.last.clear();
        said
    }

    /// What is shown: without the line's end, cut between characters.
    fn content(&self) -> &[u8] {
        let shown = self.shown.strip_suffix(b"\r").unwrap_or(&self.shown);
        let is_cut = self.shown.len() == MATCH_BYTES_MAX;
        match std::str::from_utf8(shown) {
            Err(error) if is_cut && error.error_len().is_none() => &shown[..error.valid_up_to()],
            _ => shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file that is read so many bytes at once.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = self.0.len().min(self.1).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn found(text: &[u8], pattern: &str, at_once: usize) -> Vec<(u64, Vec<u8>)> {
        let mut found = Vec::new();
        let say = |line, content: &[u8]| {
            found.push((line, content.to_vec()));
            Ok(())
        };
        scan(Slow(text, at_once), &Finder::new(pattern), say).unwrap().unwrap();
        found
    }

    proptest! {
        #[test]
        fn lines_are_found_however_the_file_is_read(text in "[ab\n]{0,60}", pattern in "[ab]{1,4}", at_once in 1usize..9) {
            let lines = text.split('\n').zip(1..).filter(|(line, _)| line.contains(&pattern));
            let expect: Vec<_> = lines.map(|(line, number)| (number, line.as_bytes().to_vec())).collect();
            prop_assert_eq!(found(text.as_bytes(), &pattern, at_once), expect);
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_matches_anywhere() {
        let text = format!("x{}needle\r\nneedle\r\n", "é".repeat(50_000));
        let found = found(text.as_bytes(), "needle", 1000);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].1, text.as_bytes()[..MATCH_BYTES_MAX - 1], "a character is cut");
        assert_eq!(found[1], (2, b"needle".to_vec()));
    }

    #[test]
    fn what_is_no_text_is_skipped_and_what_is_not_utf8_is_not() {
        assert!(found(b"needle\0", "needle", 100).is_empty());
        assert_eq!(found(b"\xffneedle", "needle", 100), [(1, b"\xffneedle".to_vec())]);
    }
}
