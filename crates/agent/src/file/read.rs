//! Reading a file, or a part of it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{FileType, OFlags};
use tokio::sync::mpsc;
use wire::guest::frame::Channel;
use wire::guest::{Done, Error, Head, Outcome, Part, ReadFile};

use super::{Files, PIECE_BYTES, PIECES_MAX, lines};
use crate::connection::stream::Stream;
use crate::failure;
use crate::root::Root;
use crate::sandbox::Sandbox;

/// What the thread hands over.
enum Piece {
    Size(u64),
    Data(Bytes),
}

/// Sends a part of a file: its size first, then the bytes.
pub async fn read(files: &Files, sandbox: &Arc<Sandbox>, stream: &Stream, read: ReadFile) -> Outcome {
    let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
    let path = sandbox.absolute(&read.path);
    let root = sandbox.root.clone();
    let identity = Some(sandbox.identity.clone());
    let work = move || Reading { root, path, pieces: sender }.run(read.part);
    let ending = tokio::select! {
        ending = files.start(identity, work) => ending?,
        () = stream.cancelled() => return Err(failure::cancelled()),
    };
    let relay = async {
        while let Some(piece) = pieces.recv().await {
            match piece {
                Piece::Size(size_bytes) => stream.head(&Head::File { size_bytes }).await,
                Piece::Data(bytes) => {
                    if !stream.send(Channel::Stdout, bytes).await {
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = relay => {}
        () = stream.cancelled() => return Err(failure::cancelled()),
    }
    // If the connection broke, the thread waits to hand more over, and must hear that nobody takes it.
    drop(pieces);
    let bytes = super::ended(ending).await?;
    Ok(Done::Read { bytes })
}

/// The thread's side.
struct Reading {
    root: Arc<Root>,
    path: PathBuf,
    pieces: mpsc::Sender<Piece>,
}

/// From where to where.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    start: u64,
    end: u64,
}

impl Reading {
    /// Returns how many bytes were handed over.
    fn run(self, part: Part) -> Result<u64, Error> {
        let failed = |error: io::Error| failure::of(self.path.display(), error);
        let file = open(&self.root, &self.path)?;
        let size_bytes = file.metadata().map_err(failed)?.len();
        let range = range(&file, size_bytes, part).map_err(failed)?;
        self.hand(Piece::Size(size_bytes))?;
        let mut at = range.start;
        while at < range.end {
            let length = (range.end - at).min(PIECE_BYTES as u64) as usize;
            let mut piece = vec![0; length];
            match file.read_at(&mut piece, at) {
                Ok(0) => break,
                Ok(length) => {
                    piece.truncate(length);
                    self.hand(Piece::Data(piece.into()))?;
                    at += length as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(at - range.start)
    }

    fn hand(&self, piece: Piece) -> Result<(), Error> {
        self.pieces.blocking_send(piece).map_err(|_| failure::cancelled())
    }
}

/// Opens a regular file. What is something else is looked at, but not opened: that could wait, or do something.
fn open(root: &Root, path: &Path) -> Result<File, Error> {
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
