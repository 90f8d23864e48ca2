//! The images we ship the recipe of: from a name to an image on this disk.

use wire::node::BuiltImage;

use crate::blocking::blocking;
use crate::lock::Lock;
use crate::recipe::Recipe;
use crate::rootfs::debian;
use crate::rootfs::erofs::{self, Times};
use crate::{Error, Image, Images, Result};

/// Which packages will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packages {
    /// Those of the lock, wherever the mirror has them; what it has instead, where it has moved on. That is another image,
    /// and is said to be.
    Preferred,
    /// Those of the lock, or none.
    Locked,
}

/// Builds the image of this system template, or finds the one that was built from the same recipe.
///
/// One build at a time per recipe: who comes second waits for the first, and gets its image. Lines for
/// people go to `progress`. Needs root. Dropped before its end, it leaves nothing.
///
/// # Errors
/// When the name is unknown, a tool is missing or fails or takes too long, the disk refuses, or the mirror has other
/// packages than those that will do.
pub async fn build(
    images: &Images,
    name: &str,
    packages: Packages,
    progress: impl Fn(String) + Send + Sync,
) -> Result<BuiltImage> {
    carry_out(images, &Recipe::named(name)?, packages, progress).await
}

/// The same of any recipe.
///
/// # Errors
/// As there.
pub async fn carry_out(
    images: &Images,
    recipe: &Recipe,
    packages: Packages,
    progress: impl Fn(String) + Send + Sync,
) -> Result<BuiltImage> {
    let name = &recipe.name;
    let _turn = images.turn_at(&recipe.key()).await;
    if let Some(image) = found(images, recipe, packages) {
        progress(format!("{name} is there already: {}", image.digest));
        return Ok(built(image, false));
    }
    let draft = images.draft()?;
    let made = debian::build(recipe, draft.path(), &progress).await?;
    let differences = recipe.lock.differences(&made.packages);
    if !differences.is_empty() {
        if packages == Packages::Locked {
            return Err(Error::NotLocked { name: name.clone(), differences: differences.join("\n") });
        }
        progress(format!(
            "the mirror has moved on from {}; this is another image than locked:",
            recipe.lock_file()
        ));
        differences.iter().for_each(|line| progress(format!("  {line}")));
    }
    progress("packing the root file system".into());
    let times = Times::UpTo(recipe.source_date_epoch);
    let digest = erofs::pack(&made.directory, &draft.image_file(), times).await?;
    let keys = if differences.is_empty() {
        vec![recipe.key()]
    } else {
        vec![recipe.key_with(&made.packages), recipe.stand_in_key()]
    };
    let (owner, config) = (images.clone(), recipe.config.clone());
    let image = blocking("install an image", move || {
        let image = owner.install(draft, &digest, &config)?;
        keys.iter().try_for_each(|key| owner.remember_recipe(key, &image.digest))?;
        Ok(image)
    })
    .await?;
    progress(format!("{name} is {}, {} MiB", image.digest, image.size_bytes / (1024 * 1024)));
    Ok(built(image, true))
}

/// The image that was built from this recipe, if one will do.
pub fn found(images: &Images, recipe: &Recipe, packages: Packages) -> Option<Image> {
    let stand_in = || images.by_recipe(&recipe.stand_in_key()).filter(|_| packages == Packages::Preferred);
    images.by_recipe(&recipe.key()).or_else(stand_in)
}

/// The packages that this machine's mirror gives a recipe now. Makes no image.
///
/// # Errors
/// As [`build`].
pub async fn packages(
    images: &Images,
    recipe: &Recipe,
    progress: impl Fn(String) + Send + Sync,
) -> Result<Lock> {
    let draft = images.draft()?;
    Ok(debian::build(recipe, draft.path(), &progress).await?.packages)
}

fn built(image: Image, built_now: bool) -> BuiltImage {
    BuiltImage { digest: image.digest, size_bytes: image.size_bytes, config: image.config, built_now }
}
