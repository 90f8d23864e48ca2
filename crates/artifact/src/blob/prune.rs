//! Layers that no image has go.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use wire::image::Digest;
use wire::node::{PrunedItem, PrunedKind};

use super::{Blobs, FROM_DIR, PARTIAL_DIR};
use crate::prune::{Taken, idle, span};
use crate::{Error, Result};

impl Blobs {
    /// Takes away layers that are not needed, that nobody is fetching or unpacking, and that have been idle for so long.
    pub(crate) fn take_away(
        &self,
        needed: &BTreeSet<Digest>,
        idle_min: Duration,
        taken: &mut Taken,
    ) -> Result<()> {
        // While this is held, nobody begins to want a layer.
        let flights = self.0.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = flights.iter().filter(|(_, flight)| flight.strong_count() > 0);
        let wanted: BTreeSet<Digest> = wanted.map(|((digest, _), _)| digest.clone()).collect();
        for (digest, path, idle) in self.files(self.dir(), idle_min)? {
            if !needed.contains(&digest) && !wanted.contains(&digest) {
                let reason = format!("no image that is left has it; fetched {} ago", span(idle));
                taken.take(&path, item(PrunedKind::Layer, &digest, &path, reason))?;
            }
        }
        for (digest, path, idle) in self.files(&self.dir().join(PARTIAL_DIR), idle_min)? {
            // Another process may be at it.
            let Some(_lock) =
                File::open(&path).ok().filter(|file| !wanted.contains(&digest) && is_free(file))
            else {
                continue;
            };
            let reason = format!("nobody has gone on with it for {}", span(idle));
            taken.take(&path, item(PrunedKind::PartialLayer, &digest, &path, reason))?;
        }
        self.forget_where_from(idle_min)
    }

    /// Forgets which registries have sent layers that are here no more. Nobody misses that, so it is not told.
    fn forget_where_from(&self, idle_min: Duration) -> Result<()> {
        for (digest, path, _) in self.files(&self.dir().join(FROM_DIR), idle_min)? {
            if !self.path(&digest).exists() {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Files that are named by a digest, and by what follows it, and have been idle for so long.
    fn files(&self, dir: &Path, idle_min: Duration) -> Result<Vec<(Digest, PathBuf, Duration)>> {
        let listed: io::Result<Vec<_>> = fs::read_dir(dir)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
        let named = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            let digest = format!("sha256:{}", name.split('-').next()?).parse().ok()?;
            let idle = idle(&path);
            (idle >= idle_min).then_some((digest, path, idle))
        };
        let mut files: Vec<_> =
            listed.map_err(Error::io("read directory", dir))?.into_iter().filter_map(named).collect();
        files.sort();
        Ok(files)
    }
}

fn is_free(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

fn item(kind: PrunedKind, digest: &Digest, path: &Path, reason: String) -> PrunedItem {
    let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    PrunedItem { kind, name: digest.to_string(), bytes, reason }
}
