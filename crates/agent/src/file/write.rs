//! Writing a file: beside its place, then into it, whole or not at all.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use wire::guest::{Done, Error, Outcome, WriteFile};

use super::Files;
use super::fresh::Fresh;
use super::hearing::hearing;
use super::place::Place;
use crate::connection::stream::Stream;
use crate::failure;
use crate::root::Root;
use crate::sandbox::Sandbox;

/// Writes what the node sends.
pub async fn write(files: &Files, sandbox: &Arc<Sandbox>, stream: &Stream, write: WriteFile) -> Outcome {
    let bytes = hearing(files, sandbox, stream, move |sandbox, mut pieces| {
        put(&sandbox.root, &sandbox.absolute(&write.path), write.mode, || pieces.next())
    });
    Ok(Done::Write { bytes: bytes.await? })
}

/// Puts a file with these pieces, up to the `None`, into its place. Returns the bytes written.
pub fn put(
    root: &Root,
    path: &Path,
    mode: Option<u32>,
    mut next: impl FnMut() -> Result<Option<Bytes>, Error>,
) -> Result<u64, Error> {
    let failed = |error: io::Error| failure::of(path.display(), error);
    let place = Place::find(root, path)?;
    let fresh = Fresh::create(&place.directory).map_err(|error| failed(error.into()))?;
    let mut bytes = 0;
    while let Some(piece) = next()? {
        (&fresh.file).write_all(&piece).map_err(failed)?;
        bytes += piece.len() as u64;
    }
    place.dress(&fresh.file, mode).map_err(|error| failed(error.into()))?;
    fresh.place(&place.name, true).map_err(|error| failed(error.into()))?;
    Ok(bytes)
}
