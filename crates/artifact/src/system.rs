//! The images we ship the recipe of: from a name to an image on this disk.

use wire::node::BuiltImage;

use crate::blocking::blocking;
use crate::recipe::Recipe;
use crate::rootfs::debian;
use crate::rootfs::erofs::{self, Times};
use crate::{Image, Images, Result};

/// Builds the image of this system template, or finds the one that was built from the same recipe.
///
/// One build at a time per recipe: who comes second waits for the first, and gets its image. Lines for
/// people go to `progress`. Needs root. Dropped before its end, it leaves nothing.
///
/// # Errors
/// When the name is unknown, a tool is missing or fails or takes too long, or the disk refuses.
pub async fn build(
    images: &Images,
    name: &str,
    progress: impl Fn(String) + Send + Sync,
) -> Result<BuiltImage> {
    let recipe = Recipe::named(name)?;
    let key = recipe.key();
    let _turn = images.turn_at(&key).await;
    if let Some(image) = images.by_recipe(&key) {
        progress(format!("{name} is there already: {}", image.digest));
        return Ok(built(image, false));
    }
    let draft = images.draft()?;
    let directory = debian::build(&recipe, draft.path(), &progress).await?;
    progress("packing the root file system".into());
    let times = Times::UpTo(recipe.source_date_epoch);
    let digest = erofs::pack(&directory, &draft.image_file(), times).await?;
    let (owner, config) = (images.clone(), recipe.config.clone());
    let image = blocking("install an image", move || {
        let image = owner.install(draft, &digest, &config)?;
        owner.remember_recipe(&key, &image.digest)?;
        Ok(image)
    })
    .await?;
    progress(format!("{name} is {}, {} MiB", image.digest, image.size_bytes / (1024 * 1024)));
    Ok(built(image, true))
}

fn built(image: Image, built_now: bool) -> BuiltImage {
    BuiltImage { digest: image.digest, size_bytes: image.size_bytes, config: image.config, built_now }
}
