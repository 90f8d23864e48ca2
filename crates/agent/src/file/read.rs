//! Reading a file, or a part of it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FileType, OFlags};
use wire::guest::{Done, Error, Head, Outcome, Part, ReadFile};

use super::telling::{Teller, telling};
use super::{Files, PIECE_BYTES, lines};
use crate::connection::stream::Stream;
use crate::failure;
use crate::root::Root;
use crate::sandbox::Sandbox;

/// Sends a part of a file: its size first, then the bytes.
pub async fn read(files: &Files, sandbox: &Arc<Sandbox>, stream: &Stream, read: ReadFile) -> Outcome {
    let bytes = telling(files, sandbox, stream, move |sandbox, teller| {
        run(&sandbox.root, &sandbox.absolute(&read.path), read.part, &teller)
    });
    Ok(Done::Read { bytes: bytes.await? })
}

/// From where to where.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    start: u64,
    end: u64,
}

/// The thread's side. Returns how many bytes were said.
fn run(root: &Root, path: &Path, part: Part, teller: &Teller) -> Result<u64, Error> {
    let failed = |error: io::Error| failure::of(path.display(), error);
    let file = open(root, path)?;
    let size_bytes = file.metadata().map_err(failed)?.len();
    let Range { start, end } = range(&file, size_bytes, part).map_err(failed)?;
    teller.head(Head::File { size_bytes })?;
    let mut at = start;
    while at < end {
        let length = (end - at).min(PIECE_BYTES as u64) as usize;
        let piece = read_piece(&file, at, length).map_err(failed)?;
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        teller.data(piece)?;
    }
    Ok(at - start)
}

/// Some bytes from a place in a file, so many at most; none at its end.
pub fn read_piece(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; length];
    loop {
        match file.read_at(&mut piece, at) {
            Ok(length) => {
                piece.truncate(length);
                return Ok(piece);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Opens a regular file. What is something else is looked at, but not opened: that could wait, or do something.
pub fn open(root: &Root, path: &Path) -> Result<File, Error> {
    let failed = |error| failure::of(path.display(), error);
    let check = |fd: &OwnedFd| match FileType::from_raw_mode(rustix::fs::fstat(fd).map_err(failed)?.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(super::is_a_directory(path)),
        _ => Err(super::not_a_regular_file(path)),
    };
    check(&root.open(path, OFlags::PATH).map_err(failed)?)?;
    // Somebody may have put something else there meanwhile.
    let fd = root.open(path, OFlags::RDONLY | OFlags::NONBLOCK).map_err(failed)?;
    check(&fd)?;
    Ok(fd.into())
}

/// Which bytes of the file the part is. A file that grows is read as far as it went when it was opened.
fn range(file: &File, size_bytes: u64, part: Part) -> io::Result<Range> {
    // Files of `/proc` say 0 and hold something; they end where they end.
    let end = if size_bytes == 0 { u64::MAX } else { size_bytes };
    Ok(match part {
        Part::Whole => Range { start: 0, end },
        Part::Bytes { offset, limit } => {
            let end = limit.map_or(end, |limit| end.min(offset.saturating_add(limit)));
            Range { start: offset.min(end), end }
        }
        Part::Head { lines } => Range { start: 0, end: end.min(lines::head_bytes(file, lines)?) },
        Part::Tail { lines } => {
            let end = if size_bytes == 0 { lines::measure(file)? } else { size_bytes };
            Range { start: lines::tail_offset(file, end, lines)?, end }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn range_of(content: &[u8], part: Part) -> Range {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        range(&file, content.len() as u64, part).unwrap()
    }

    #[test]
    fn a_part_stays_inside_the_file() {
        let bytes = |offset, limit| range_of(b"0123456789", Part::Bytes { offset, limit });
        assert_eq!(bytes(2, Some(3)), Range { start: 2, end: 5 });
        assert_eq!(bytes(8, Some(30)), Range { start: 8, end: 10 });
        assert_eq!(bytes(20, Some(u64::MAX)), Range { start: 10, end: 10 });
        assert_eq!(bytes(3, None), Range { start: 3, end: 10 });
    }

    #[test]
    fn only_regular_files_are_opened() {
        let message = |path: &str| open(&Root::Machine, Path::new(path)).unwrap_err().message;
        assert_eq!(message("/tmp"), "/tmp: is a directory");
        assert_eq!(message("/dev/null"), "/dev/null: not a regular file");
        assert_eq!(message("/no/such"), "/no/such: no such file or directory");
    }
}
