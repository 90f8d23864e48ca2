//! File operations that are still true after a power cut.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Writes all of a new file and waits until the disk has it. Its name is durable after [`sync_dir`].
pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(Error::io("write", path))
}

/// Waits until the disk has a file that somebody else wrote.
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("sync", path))
}

/// Waits until the disk has the names in a directory.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    sync_file(path)
}

/// Renames within a directory tree, durably for the place it comes to.
pub(crate) fn rename_into(from: &Path, dir: &Path, name: &str) -> Result<()> {
    fs::rename(from, dir.join(name)).map_err(Error::io("rename into place", &dir.join(name)))?;
    sync_dir(dir)
}

/// Makes a directory and its parents; one that exists is good.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io("create directory", path))
}
