//! What a file holds, from the archive into the file.

use std::io::BufRead;
use std::os::fd::AsFd;

use rustix::fs::ftruncate;
use rustix::io::{Errno, pwrite, write};

use super::Fault;
use crate::rootfs::layers::tar::{Segment, Walk};

/// Writes a file that has no holes.
pub(super) fn write_all<R: BufRead>(walk: &mut Walk<R>, file: impl AsFd) -> Result<(), Fault> {
    loop {
        let piece = walk.piece()?;
        if piece.is_empty() {
            return Ok(());
        }
        let written = retried(|| write(&file, piece))?;
        walk.consume(written);
    }
}

/// Writes a file of this length that is empty but for these pieces.
pub(super) fn write_segments<R: BufRead>(
    walk: &mut Walk<R>,
    file: impl AsFd,
    size: u64,
    segments: &[Segment],
) -> Result<(), Fault> {
    ftruncate(&file, size).map_err(Fault::call("make it as long as it is"))?;
    for segment in segments {
        let mut done = 0;
        while done < segment.length {
            let piece = walk.piece()?;
            let wanted = piece.len().min(usize::try_from(segment.length - done).unwrap_or(usize::MAX));
            if wanted == 0 {
                return Err(Fault::new("the archive ends within the entry"));
            }
            let written = retried(|| pwrite(&file, &piece[..wanted], segment.offset + done))?;
            walk.consume(written);
            done += written as u64;
        }
    }
    Ok(())
}

fn retried(mut write: impl FnMut() -> Result<usize, Errno>) -> Result<usize, Fault> {
    loop {
        match write() {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(Fault::new("cannot write it: the disk takes nothing")),
            outcome => return outcome.map_err(Fault::call("write it")),
        }
    }
}
