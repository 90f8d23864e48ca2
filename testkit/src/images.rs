//! Images for tests: the real template where machines are real, a name alone where they are not.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use artifact::Images;
use artifact::recipe::Recipe;
use artifact::system::Packages;
use wire::image::{Digest, ImageConfig};

/// The template every story uses.
pub const TEMPLATE: &str = "system/debian:bookworm";

/// Where the images of real machines are: `ATOLL_TEST_IMAGE_DIR`, or a directory below `target/`.
pub fn real_dir() -> PathBuf {
    match std::env::var_os("ATOLL_TEST_IMAGE_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-images"),
    }
}

/// The images in [`real_dir`], with [`TEMPLATE`] among them: built on first use, by one process at a time.
///
/// # Errors
/// When the template cannot be built.
pub async fn real() -> Result<Images> {
    let dir = real_dir();
    fs::create_dir_all(&dir)?;
    let lock = File::create(dir.join("test-lock"))?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
    let images = Images::open(&dir)?;
    artifact::system::build(&images, TEMPLATE, Packages::Preferred, |line| eprintln!("  {line}"))
        .await
        .context(TEMPLATE)?;
    drop(lock);
    Ok(images)
}

/// A directory of images that holds [`TEMPLATE`] in name only, for engines that start from no image.
///
/// # Errors
/// When the disk refuses.
pub fn nominal(dir: &Path) -> Result<Images> {
    let images = Images::open(dir)?;
    let recipe = Recipe::named(TEMPLATE)?;
    let draft = images.draft()?;
    fs::write(draft.image_file(), b"an image in name only")?;
    let digest = Digest::from_sha256([7; 32]);
    // Such machines have no users: everything runs as whoever the agent runs as.
    let config = ImageConfig { user: String::new(), ..recipe.config.clone() };
    images.install(draft, &digest, &config)?;
    images.remember_recipe(&recipe.key(), &digest)?;
    Ok(images)
}
