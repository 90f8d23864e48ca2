//! Whatever moment a maker of images is killed at, the next start finds whole images and nothing else.

use std::fs;
use std::path::Path;

use artifact::{Error, Image, Images};
use wire::image::{Digest, ImageConfig};

fn digest(byte: u8) -> Digest {
    Digest::from_sha256([byte; 32])
}

fn config() -> ImageConfig {
    ImageConfig { user: "user".into(), working_dir: "/workspace".into(), ..ImageConfig::default() }
}

fn install(images: &Images, byte: u8, content: &[u8]) -> Image {
    let draft = images.draft().unwrap();
    fs::write(draft.image_file(), content).unwrap();
    images.install(draft, &digest(byte), &config()).unwrap()
}

fn drafts(dir: &Path) -> usize {
    fs::read_dir(dir.join("tmp")).unwrap().count()
}

#[test]
fn an_installed_image_is_found_again_with_its_config() {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path()).unwrap();
    let made = install(&images, 1, b"content");
    assert_eq!(images.get(&digest(1)), Some(made.clone()));

    let again = Images::open(dir.path()).unwrap();
    assert_eq!(again.list(), vec![made.clone()]);
    assert_eq!(fs::read(made.path).unwrap(), b"content");
    assert_eq!(again.get(&digest(1)).unwrap().config, config());
    assert_eq!(again.get(&digest(2)), None);
    assert_eq!(drafts(dir.path()), 0);
}

#[test]
fn a_draft_of_a_dead_maker_is_removed_and_one_of_a_living_maker_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path()).unwrap();
    let living = images.draft().unwrap();
    fs::write(living.image_file(), "half").unwrap();
    fs::create_dir_all(dir.path().join("tmp/draft-1-0/tree/etc")).unwrap();
    fs::write(dir.path().join("tmp/draft-1-0/tree/etc/passwd"), "root").unwrap();

    Images::open(dir.path()).unwrap();
    assert!(living.image_file().exists(), "the draft of a living maker was removed");
    assert!(!dir.path().join("tmp/draft-1-0").exists(), "the draft of a dead maker was left");

    drop(living);
    assert_eq!(drafts(dir.path()), 0);
}

#[test]
fn a_draft_name_left_by_an_earlier_process_with_our_pid_is_stepped_over() {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path()).unwrap();
    let taken = dir.path().join(format!("tmp/draft-{}-0", std::process::id()));
    fs::create_dir(&taken).unwrap();
    assert_ne!(images.draft().unwrap().path(), taken);
}

#[test]
fn a_damaged_image_is_not_listed_and_is_replaced_when_made_again() {
    for damage in ["root.erofs", "config.json"] {
        let dir = tempfile::tempdir().unwrap();
        let image = install(&Images::open(dir.path()).unwrap(), 3, b"content");
        fs::write(image.path.with_file_name(damage), "cut").unwrap();

        let images = Images::open(dir.path()).unwrap();
        assert_eq!(images.get(&digest(3)), None, "an image with a damaged {damage} was listed");
        assert_eq!(install(&images, 3, b"content"), image);
        assert_eq!(fs::read(&image.path).unwrap(), b"content");
        assert_eq!(drafts(dir.path()), 0);
    }
}

#[test]
fn the_first_of_two_equal_images_stays() {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path()).unwrap();
    let first = install(&images, 4, b"content");
    assert_eq!(install(&images, 4, b"content"), first);
    assert_eq!(images.list().len(), 1);
    assert_eq!(drafts(dir.path()), 0);
}

#[test]
fn a_recipe_is_remembered_as_long_as_its_image_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path()).unwrap();
    let image = install(&images, 5, b"content");
    images.remember_recipe(&digest(9), &image.digest).unwrap();
    assert_eq!(images.by_recipe(&digest(9)), Some(image.clone()));
    assert_eq!(Images::open(dir.path()).unwrap().by_recipe(&digest(9)), Some(image.clone()));

    fs::remove_dir_all(image.path.parent().unwrap()).unwrap();
    assert_eq!(Images::open(dir.path()).unwrap().by_recipe(&digest(9)), None);
}

#[test]
fn another_layout_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    Images::open(dir.path()).unwrap();
    fs::write(dir.path().join("format"), "2\n").unwrap();
    assert!(matches!(Images::open(dir.path()), Err(Error::Layout { .. })));
    assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), "2\n");
}

#[test]
fn a_relative_directory_gives_absolute_paths() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let relative = Path::new(dir.path().file_name().unwrap());
    let images = Images::open(relative).unwrap();
    assert!(install(&images, 6, b"content").path.is_absolute());
    assert!(images.draft().unwrap().path().is_absolute());
}
