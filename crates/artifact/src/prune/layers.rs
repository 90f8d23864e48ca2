//! Layers that no image is made of, and beginnings of layers that nobody fetches.
//!
//! A pull that reads one of them has its file open, and is not disturbed.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::image::Digest;
use wire::node::{PrunedItem, PrunedKind};

use super::{idle_since, span};
use crate::blob::PARTIAL_DIR;
use crate::layout::entries;
use crate::{Error, Result};

/// One that can go.
pub(super) struct Candidate {
    pub item: PrunedItem,
    path: PathBuf,
}

impl Candidate {
    /// Takes it away, unless somebody has begun to fetch it. Whether it went.
    pub(super) fn take_away(&self) -> Result<bool> {
        let Some(_held) = lock(&self.path)? else { return Ok(false) };
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true).map_err(Error::io("remove", &self.path)),
        }
    }
}

/// Those below `dir` that have not been written for so long, but for these layers.
pub(super) fn idle(dir: &Path, needed: &BTreeSet<Digest>, idle_min: Duration) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for (name, path) in in_directory(dir)? {
        let digest = format!("sha256:{name}").parse::<Digest>();
        if digest.is_ok_and(|digest| !needed.contains(&digest)) {
            candidates.extend(candidate(PrunedKind::Layer, name, path, idle_min, "no image is made of it"));
        }
    }
    for (name, path) in in_directory(&dir.join(PARTIAL_DIR))? {
        candidates.extend(candidate(
            PrunedKind::PartialLayer,
            name,
            path,
            idle_min,
            "nobody fetches the rest of it",
        ));
    }
    Ok(candidates)
}

fn candidate(
    kind: PrunedKind,
    name: String,
    path: PathBuf,
    idle_min: Duration,
    why: &str,
) -> Option<Candidate> {
    let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let idle = idle_since(metadata.modified());
    let reason = format!("{why}; last written {} ago", span(idle));
    (idle >= idle_min)
        .then_some(Candidate { item: PrunedItem { kind, name, bytes: metadata.len(), reason }, path })
}

/// A layer that is being fetched is locked.
fn lock(path: &Path) -> Result<Option<File>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(Error::io("open", path))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
}

/// What is there; nothing was pulled where there is no directory.
fn in_directory(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    if dir.exists() { entries(dir) } else { Ok(vec![]) }
}
