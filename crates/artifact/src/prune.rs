//! What nobody needs goes: images that no template and no sandbox counts on, once they have not been used for a while.
//!
//! When an image was last used is the time of its `config.json`: it survives a restart, and a new image has been used
//! just now. Files are moved away under one lock and removed after it, so that nobody waits for a large one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use wire::image::Digest;
use wire::node::{Pruned, PrunedItem, PrunedKind};

use crate::layout::{CONFIG_FILE, Draft};
use crate::{Image, Images, Result};

/// What was taken away. Its files go with it.
pub struct Taken {
    told: Pruned,
    draft: Option<Draft>,
}

impl Taken {
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

    /// How long it has not been used. One that claims to be of tomorrow was used just now.
    fn idle(&self) -> Duration {
        let used = fs::metadata(self.config_path()).and_then(|metadata| metadata.modified());
        used.ok().and_then(|used| SystemTime::now().duration_since(used).ok()).unwrap_or_default()
    }
}

/// Takes away the images that are not needed and have been idle for so long, or says which those would be.
///
/// # Errors
/// When the disk refuses; what was taken away until then goes all the same.
pub fn take_away(
    images: &Images,
    needed: &BTreeSet<Digest>,
    idle_min: Duration,
    dry_run: bool,
) -> Result<Taken> {
    let draft = if dry_run { None } else { Some(images.draft()?) };
    let mut told = Pruned::default();
    for image in images.list().into_iter().filter(|image| !needed.contains(&image.digest)) {
        let idle = image.idle();
        if idle < idle_min {
            continue;
        }
        let item = item(&image, idle);
        if let Some(draft) = &draft {
            images.take_away(&image.digest, draft)?;
            tracing::info!(image = %image.digest, bytes = item.bytes, "nobody needs it");
        }
        told.bytes += item.bytes;
        told.items.push(item);
    }
    Ok(Taken { told, draft })
}

fn item(image: &Image, idle: Duration) -> PrunedItem {
    PrunedItem {
        kind: PrunedKind::Image,
        name: image.digest.to_string(),
        bytes: image.size_bytes,
        reason: format!("no template and no sandbox needs it; last used {} ago", span(idle)),
    }
}

fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} m", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}
