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

/// Time for `mkfs.erofs`: a gigabyte takes it a few seconds.
const MKFS_BOUND: Duration = Duration::from_secs(300);
/// The same in every image: nothing looks images up by it, and a random one would change the digest.
const UUID: &str = "a7011000-0000-4000-8000-000000000001";
/// Bytes hashed at a time.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Writes the directory's content to `image`, and says the file's digest.
///
/// Times later than `epoch` (Unix seconds) are set back to it first, in the
/// directory. Not compressed: pages are shared by the page cache of the host
/// instead. Without extended attributes: those of the host (security labels)
/// must not get in, and gVisor's EROFS fails on files that have some.
///
/// # Errors
/// When `mkfs.erofs` is missing, fails or takes too long, or a file cannot be read or set back.
pub async fn pack(directory: &Path, image: &Path, epoch: u64) -> Result<Digest> {
    let [directory, image] = [directory, image].map(std::path::absolute);
    let directory = directory.map_err(Error::io("find", Path::new("the directory to pack")))?;
    let image = image.map_err(Error::io("find", Path::new("the image to write")))?;
    let settled = directory.clone();
    blocking("settle times", move || tree::clamp_times(&settled, epoch)).await?;
    let time = format!("-T{epoch}");
    let uuid = format!("-U{UUID}");
    // `--preserve-mtime` after `-T`: the latter is then the time of the file system alone.
    Program::new("mkfs.erofs", "erofs-utils", MKFS_BOUND)?
        .args(["mkfs.erofs", "--quiet", "-d0", "-x-1", &time, &uuid, "--preserve-mtime"])
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
