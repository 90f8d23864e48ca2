//! A directory as one EROFS file, the same for the same directory.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wire::image::Digest;

use super::tree;
use crate::blocking::blocking;
use crate::program::Program;
use crate::{Error, Result};

/// Time for `mkfs.erofs`: a gigabyte takes it a few seconds, a million files a few minutes on a busy host.
const MKFS_BOUND: Duration = Duration::from_secs(30 * 60);
/// The same in every image: nothing looks images up by it, and a random one would change the digest.
const UUID: &str = "a7011000-0000-4000-8000-000000000001";
/// The time of a file system whose files keep theirs: later than any of them. The end of the year 9999.
const LAST_TIME: u64 = 253_402_300_799;
/// Without extended attributes: a tree that has none is packed in half the time.
const NO_XATTRS: &str = "-x-1";
/// With them; those that more than two files have are kept once.
const SHARED_XATTRS: &str = "-x2";
/// Bytes hashed at a time.
const CHUNK_BYTES: usize = 1024 * 1024;

/// What becomes of the times in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// They stay: an image's layers say them. Those before 1970 become its beginning.
    Kept,
    /// Those later than this (Unix seconds) are set back to it: they are when the tree was made.
    UpTo(u64),
}

/// Writes the directory's content to `image`, and says the file's digest.
///
/// The directory is settled first: its times as told, and extended attributes that are not an image's
/// ([`super::xattrs`]) go. Where the host's security module does not let its labels go, the image has no attributes at
/// all. Not compressed: pages are shared by the page cache of the host instead.
///
/// # Errors
/// When `mkfs.erofs` is missing, fails or takes too long, or a file cannot be read or settled.
pub async fn pack(directory: &Path, image: &Path, times: Times) -> Result<Digest> {
    let [directory, image] = [directory, image].map(std::path::absolute);
    let directory = directory.map_err(Error::io("find", Path::new("the directory to pack")))?;
    let image = image.map_err(Error::io("find", Path::new("the image to write")))?;
    let settled = directory.clone();
    let settled = blocking("settle a tree", move || tree::settle(&settled, times)).await?;
    if settled.labels_stay {
        tracing::warn!(
            "this host labels every file, so the image has neither extended attributes nor file capabilities"
        );
    }
    let uuid = format!("-U{UUID}");
    let attributes = if settled.labels_stay || !settled.has_xattrs { NO_XATTRS } else { SHARED_XATTRS };
    let epoch = if let Times::UpTo(epoch) = times { epoch } else { LAST_TIME };
    // Not `-T`, which would be the time of every file.
    Program::new("mkfs.erofs", "erofs-utils", MKFS_BOUND)?
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .args(["mkfs.erofs", "--quiet", "-d0", attributes, &uuid])
        .args([&image, &directory])
        .run(|line| tracing::debug!(line, "mkfs.erofs"))
        .await?;
    blocking("hash an image", move || digest_of(&image)).await
}

/// The digest of a file.
pub(crate) fn digest_of(path: &Path) -> Result<Digest> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk).map_err(Error::io("read", path))? {
            0 => return Ok(Digest::from_sha256(hash.finalize().into())),
            length => hash.update(&chunk[..length]),
        }
    }
}
