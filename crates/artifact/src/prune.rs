//! What nobody needs goes: images that no template and no sandbox counts on, once they have not been used for a while,
//! and layers that no image has which is left.
//!
//! When an image was last used is the time of its `config.json`, and when a layer came that of its file: these survive a
//! restart, and what is new was used just now. Files are moved away while nobody may begin to use them, and removed
//! after that, so that nobody waits for a large one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wire::image::Digest;
use wire::node::{Pruned, PrunedItem, PrunedKind};

use crate::blob::Blobs;
use crate::layout::{CONFIG_FILE, Draft};
use crate::{Error, Image, Images, Result};

/// What was taken away, or would be. Its files go with it.
pub struct Taken {
    told: Pruned,
    /// Where they are until then; nothing is taken where there is none.
    draft: Option<Draft>,
}

impl Taken {
    fn begin(images: &Images, dry_run: bool) -> Result<Self> {
        let draft = if dry_run { None } else { Some(images.draft()?) };
        Ok(Self { told: Pruned::default(), draft })
    }

    /// Takes away what is at this path, unless it is only to be told.
    pub(crate) fn take(&mut self, path: &Path, item: PrunedItem) -> Result<()> {
        if let Some(draft) = &self.draft {
            let place = draft.path().join(format!("gone-{}", self.told.items.len()));
            fs::rename(path, place).map_err(Error::io("move away", path))?;
            tracing::info!(kind = ?item.kind, name = item.name, bytes = item.bytes, "nobody needs it");
        }
        self.told.bytes += item.bytes;
        self.told.items.push(item);
        Ok(())
    }

    /// Removes the files, and says what they were.
    pub fn free(self) -> Pruned {
        drop(self.draft);
        self.told
    }
}

impl Image {
    /// Somebody uses it: it is not idle.
    pub fn touch(&self) {
        let touched = File::open(self.config_path()).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::warn!(image = %self.digest, %error, "it cannot be noted that it is used");
        }
    }

    fn config_path(&self) -> PathBuf {
        self.path.with_file_name(CONFIG_FILE)
    }
}

/// Takes away what is not needed and has been idle for so long, or says what that would be.
pub(crate) fn take_away(
    images: &Images,
    blobs: &Blobs,
    needed: &BTreeSet<Digest>,
    idle_min: Duration,
    dry_run: bool,
) -> Result<Taken> {
    let mut taken = Taken::begin(images, dry_run)?;
    let mut gone = BTreeSet::new();
    for image in images.list().into_iter().filter(|image| !needed.contains(&image.digest)) {
        let idle = idle(&image.config_path());
        if idle < idle_min {
            continue;
        }
        let directory = image.path.parent().unwrap_or(&image.path).to_owned();
        taken.take(&directory, item(&image, idle))?;
        if !dry_run {
            images.forget(&image.digest);
        }
        gone.insert(image.digest);
    }
    blobs.take_away(&images.layers_without(&gone), idle_min, &mut taken)?;
    Ok(taken)
}

fn item(image: &Image, idle: Duration) -> PrunedItem {
    PrunedItem {
        kind: PrunedKind::Image,
        name: image.digest.to_string(),
        bytes: image.size_bytes,
        reason: format!("no template and no sandbox needs it; last used {} ago", span(idle)),
    }
}

/// How long a file has been as it is. One that claims to be of tomorrow is new.
pub(crate) fn idle(path: &Path) -> Duration {
    let changed = fs::metadata(path).and_then(|metadata| metadata.modified());
    changed.ok().and_then(|changed| SystemTime::now().duration_since(changed).ok()).unwrap_or_default()
}

/// A span as people read it.
pub(crate) fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} m", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}
