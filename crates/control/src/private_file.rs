//! A file that nobody else reads.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes it beside its place and renames it, so that a crash leaves none or all of it.
pub fn create(path: &Path, content: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| Error::start(format!("cannot write {}", path.display()), error))
}
