//! How much of everything an image may be.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// The limits of one image. Over all its layers, where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Layers.
    pub layers_max: u64,
    /// Entries, whiteouts included.
    pub entries_max: u64,
    /// Bytes of the archives, decompressed.
    pub archive_bytes_max: u64,
    /// Bytes of the files, holes included: they are all in the packed image.
    pub file_bytes_max: u64,
    /// Times that a layer may grow when decompressed, once it is over [`Limits::expansion_free_bytes`].
    pub expansion_max: u64,
    /// Bytes that a layer may decompress to however small it was.
    pub expansion_free_bytes: u64,
    /// Bytes of a path, links' targets included.
    pub path_bytes_max: usize,
    /// Directories above an entry.
    pub depth_max: usize,
    /// Bytes of what may stand before an entry: a long name, attributes, a map of holes.
    pub extension_bytes_max: u64,
    /// Bytes of one entry's extended attributes, names and values.
    pub xattr_bytes_max: usize,
    /// Pieces of a file with holes.
    pub segments_max: usize,
    /// Bytes of address space the child may have.
    pub memory_bytes_max: u64,
    /// Seconds of processor time the child may take.
    pub cpu_seconds_max: u64,
    /// Time in which the child must take what it is offered, or answer.
    pub stall_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layers_max: 512,
            entries_max: 4_000_000,
            archive_bytes_max: 64 * GIB,
            file_bytes_max: 64 * GIB,
            expansion_max: 200,
            expansion_free_bytes: GIB,
            path_bytes_max: 4095,
            depth_max: 256,
            extension_bytes_max: MIB,
            xattr_bytes_max: 64 * KIB as usize,
            segments_max: 64 * KIB as usize,
            memory_bytes_max: 2 * GIB,
            cpu_seconds_max: 3600,
            stall_max: Duration::from_secs(300),
        }
    }
}
