//! What the node and the child say to each other.
//!
//! To the child: frames, each a length (four bytes, little end first) and so many bytes. A layer is a frame with a
//! [`LayerOrder`], frames of the layer's bytes as they come, and an empty frame. The end of the stream at a layer's
//! beginning is the end of the image. From the child: lines, each a [`Report`].

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::image::Digest;

use super::{Fault, Limits};

/// Bytes of a frame.
pub(super) const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a report.
pub(super) const REPORT_BYTES_MAX: u64 = 64 * 1024;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, of one or more members.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// As its first bytes say.
    Detect,
}

/// What was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerReport {
    /// The digest of the archive, decompressed.
    pub diff_id: Digest,
    /// Bytes of the archive, decompressed.
    pub archive_bytes: u64,
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Extended attributes that were left out: see the list of those that are kept.
    pub xattrs_left_out: u64,
}

/// What the child is started with, as its argument.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    /// The directory that becomes its `/`.
    pub tree: PathBuf,
    pub limits: Limits,
}

/// The frame that begins a layer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LayerOrder {
    pub compression: Compression,
    /// What the archive's digest must be, if that is known.
    pub diff_id: Option<Digest>,
}

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// It is confined, and waits for a layer.
    Ready,
    Applied(LayerReport),
    /// The tree is whole.
    Done,
    /// It ends, with this reason.
    Failed(Fault),
}

/// One frame, whole: for what is small.
pub(super) fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let Some(length) = read_length(from)? else { return Ok(None) };
    let mut frame = vec![0; length];
    from.read_exact(&mut frame)?;
    serde_json::from_slice(&frame).map(Some).map_err(io::Error::from)
}

/// The length of the next frame; None at the end of the stream.
pub(super) fn read_length(from: &mut impl Read) -> io::Result<Option<usize>> {
    let mut length = [0; 4];
    if from.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length <= FRAME_BYTES_MAX {
        return Ok(Some(length));
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")))
}

/// Says one thing on a line of its own.
pub(super) fn say(report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    io::stdout().lock().write_all(&line)
}
