//! Writes `images/debian-bookworm.lock` anew: builds the image of whatever this machine's mirror has now, and notes which
//! packages that were. Needs root, and a minute.

use std::error::Error;
use std::path::Path;

use artifact::recipe::Recipe;
use artifact::{Images, lock, system};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images");
    let directory = tempfile::tempdir()?;
    let scratch = Images::open(directory.path())?;
    for name in Recipe::names() {
        let recipe = Recipe::named(name)?.unlocked();
        let packages = system::packages(&scratch, &recipe, |line| eprintln!("  {line}")).await?;
        let file = images.join(recipe.lock_file());
        std::fs::write(&file, lock::file(&packages))?;
        println!("{}", file.display());
    }
    Ok(())
}
