//! Several files in one request, as [`wire::guest::bundle`] has them.

use std::fs::File;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use wire::guest::bundle::{Decoder, FileHeader, Part, encode};
use wire::guest::{Done, Error, Outcome};

use super::hearing::{Hearer, hearing};
use super::read::{open, read_piece};
use super::telling::{Teller, telling};
use super::write::put;
use super::{Files, PIECE_BYTES};
use crate::connection::stream::Stream;
use crate::failure;
use crate::sandbox::Sandbox;

/// Sends all of these files.
pub async fn read_all(files: &Files, sandbox: &Arc<Sandbox>, stream: &Stream, paths: Vec<String>) -> Outcome {
    let bytes = telling(files, sandbox, stream, move |sandbox, teller| {
        let mut bytes = 0;
        for path in paths {
            let inside = sandbox.absolute(&path);
            let file = open(&sandbox.root, &inside)?;
            bytes += tell(&teller, &file, FileHeader { path, mode: None })
                .map_err(|failed| failed.of(&inside.display()))?;
        }
        Ok(bytes)
    });
    Ok(Done::Read { bytes: bytes.await? })
}

enum Failed {
    Reading(std::io::Error),
    Telling(Error),
}

impl Failed {
    fn of(self, path: &impl std::fmt::Display) -> Error {
        match self {
            Self::Reading(error) => failure::of(path, error),
            Self::Telling(error) => error,
        }
    }
}

/// Says one file. Returns how many of the bytes said are its own.
fn tell(teller: &Teller, file: &File, header: FileHeader) -> Result<u64, Failed> {
    let mut out = BytesMut::new();
    encode(&Part::File(header), &mut out);
    let mut at = 0;
    loop {
        let piece = read_piece(file, at, PIECE_BYTES).map_err(Failed::Reading)?;
        let is_last = piece.is_empty();
        at += piece.len() as u64;
        encode(&if is_last { Part::End } else { Part::Piece(piece.into()) }, &mut out);
        teller.data(out.split().freeze()).map_err(Failed::Telling)?;
        if is_last {
            return Ok(at);
        }
    }
}

/// Writes the files that the node sends.
pub async fn write_all(files: &Files, sandbox: &Arc<Sandbox>, stream: &Stream) -> Outcome {
    let bytes = hearing(files, sandbox, stream, |sandbox, pieces| {
        let mut parts = Parts { pieces, decoder: Decoder::default() };
        let mut bytes = 0;
        while let Some(header) = parts.file()? {
            let path = sandbox.absolute(&header.path);
            bytes += put(&sandbox.root, &path, header.mode, || parts.piece())?;
        }
        Ok(bytes)
    });
    Ok(Done::Write { bytes: bytes.await? })
}

/// A bundle, part by part.
struct Parts {
    pieces: Hearer,
    decoder: Decoder,
}

impl Parts {
    /// The next file; `None` at the end of the bundle.
    fn file(&mut self) -> Result<Option<FileHeader>, Error> {
        match self.next()? {
            Some(Part::File(header)) => Ok(Some(header)),
            None => Ok(None),
            Some(_) => Err(failure::invalid("a bundle has a piece outside of a file")),
        }
    }

    /// The next piece of this file; `None` at its end.
    fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        match self.next()? {
            Some(Part::Piece(bytes)) => Ok(Some(bytes)),
            Some(Part::End) => Ok(None),
            _ => Err(failure::invalid("a bundle stops in the middle of a file")),
        }
    }

    fn next(&mut self) -> Result<Option<Part>, Error> {
        loop {
            if let Some(part) =
                self.decoder.next_part().map_err(|error| failure::invalid(error.to_string()))?
            {
                return Ok(Some(part));
            }
            match self.pieces.next()? {
                Some(bytes) => self.decoder.feed(&bytes),
                None if self.decoder.is_complete() => return Ok(None),
                None => return Err(failure::invalid("a bundle stops in the middle of a file")),
            }
        }
    }
}
