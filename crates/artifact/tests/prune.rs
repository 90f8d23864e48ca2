//! What nobody needs goes, and nothing else does, whatever moment it is interrupted at.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use artifact::oci::Settings;
use artifact::pull::Puller;
use artifact::{Image, Images};
use wire::image::{Digest, ImageConfig};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn digest(byte: u8) -> Digest {
    Digest::from_sha256([byte; 32])
}

fn install(images: &Images, byte: u8) -> Image {
    let draft = images.draft().unwrap();
    fs::write(draft.image_file(), b"content").unwrap();
    images.install(draft, &digest(byte), &ImageConfig::default()).unwrap()
}

/// Last used so long ago.
fn age(image: &Image, idle: Duration) {
    let file = fs::File::open(image.path.with_file_name("config.json")).unwrap();
    file.set_modified(SystemTime::now() - idle).unwrap();
}

fn puller(images: &Images) -> Puller {
    Puller::open(images.clone(), Settings::default(), Vec::new()).unwrap()
}

fn left(images: &Images) -> Vec<Digest> {
    images.list().into_iter().map(|image| image.digest).collect()
}

fn drafts(dir: &Path) -> usize {
    fs::read_dir(dir.join("tmp")).unwrap().count()
}

#[test]
fn what_is_not_needed_and_idle_goes_and_a_dry_run_says_so_first() {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path()).unwrap();
    for byte in 1..=3 {
        age(&install(&images, byte), 3 * HOUR);
    }
    // The third is used again; the first is needed.
    images.get(&digest(3)).unwrap().touch();
    images.remember_recipe(&digest(9), &digest(2)).unwrap();
    let needed = BTreeSet::from([digest(1)]);
    for dry_run in [true, true, false] {
        let went = puller(&images).take_away(&needed, HOUR, dry_run).unwrap().free();
        assert_eq!((went.items.len(), went.bytes), (1, 7), "{went:?}");
        assert_eq!(went.items[0].name, digest(2).to_string());
        assert!(went.items[0].reason.contains("3 h"), "{went:?}");
        assert_eq!(left(&images).len(), if dry_run { 3 } else { 2 });
    }
    assert_eq!(left(&images), [digest(1), digest(3)]);
    assert!(!dir.path().join(digest(2).hex()).exists());
    assert_eq!(images.by_recipe(&digest(9)), None);
    assert_eq!(drafts(dir.path()), 0);
    assert_eq!(puller(&images).take_away(&needed, HOUR, false).unwrap().free(), Default::default());
    assert_eq!(left(&Images::open(dir.path()).unwrap()), [digest(1), digest(3)]);
    // Gone is gone, and may come again.
    install(&images, 2);
    assert_eq!(left(&images).len(), 3);
}

/// A layer, or a part of one.
fn layer(path: &Path, bytes: usize, idle: Duration) {
    fs::write(path, vec![0; bytes]).unwrap();
    fs::File::open(path).unwrap().set_modified(SystemTime::now() - idle).unwrap();
}

#[test]
fn layers_go_with_the_last_image_that_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path()).unwrap();
    let blobs = dir.path().join("blobs");
    fs::create_dir_all(blobs.join("partial")).unwrap();
    for byte in 11..=14 {
        layer(&blobs.join(digest(byte).hex()), usize::from(byte), 3 * HOUR);
    }
    layer(&blobs.join(digest(15).hex()), 15, Duration::ZERO);
    layer(&blobs.join("partial").join(format!("{}-0123456789abcdef", digest(16).hex())), 16, 3 * HOUR);
    // Two images share a layer, and one of them goes.
    for byte in 1..=2 {
        age(&install(&images, byte), 3 * HOUR);
    }
    images.remember_manifest(&digest(21), &digest(1), &[digest(11), digest(12)]).unwrap();
    images.remember_manifest(&digest(22), &digest(2), &[digest(12), digest(13)]).unwrap();
    let images = Images::open(dir.path()).unwrap();
    let puller = puller(&images);
    let needed = BTreeSet::from([digest(1)]);
    let dry = puller.take_away(&needed, HOUR, true).unwrap().free();
    let went = puller.take_away(&needed, HOUR, false).unwrap().free();
    let names = |went: &wire::node::Pruned| -> Vec<String> {
        went.items.iter().map(|item| format!("{:?} {}", item.kind, item.name)).collect()
    };
    let expect = [("Image", 2), ("Layer", 13), ("Layer", 14), ("PartialLayer", 16)];
    let expect: Vec<_> = expect.iter().map(|(kind, byte)| format!("{kind} {}", digest(*byte))).collect();
    assert_eq!((names(&dry), names(&went)), (expect.clone(), expect));
    assert_eq!(went.bytes, 7 + 13 + 14 + 16);
    assert_eq!(images.by_manifest(&digest(22)), None);
    // What has just come stays: an image of it may be about to be made.
    let left: Vec<_> =
        [11, 12, 13, 14, 15].into_iter().filter(|byte| blobs.join(digest(*byte).hex()).exists()).collect();
    assert_eq!(left, [11, 12, 15]);
    assert_eq!(puller.take_away(&needed, HOUR, false).unwrap().free(), Default::default());
}

#[test]
fn a_new_image_is_not_idle_nor_is_one_from_a_clock_that_was_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path()).unwrap();
    install(&images, 1);
    let file = fs::File::open(install(&images, 2).path.with_file_name("config.json")).unwrap();
    file.set_modified(SystemTime::now() + HOUR).unwrap();
    let nobody = BTreeSet::new();
    assert_eq!(puller(&images).take_away(&nobody, HOUR, false).unwrap().free().items, []);
    assert_eq!(puller(&images).take_away(&nobody, Duration::ZERO, false).unwrap().free().items.len(), 2);
}

#[test]
fn a_crash_between_taking_away_and_removing_leaves_nothing_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path()).unwrap();
    install(&images, 1);
    let taken = puller(&images).take_away(&BTreeSet::new(), Duration::ZERO, false).unwrap();
    // The process dies here: nothing is dropped, and what it had locked is not locked any more.
    let draft = fs::read_dir(dir.path().join("tmp")).unwrap().next().unwrap().unwrap().path();
    let dead = dir.path().join("tmp/draft-1-0");
    fs::create_dir(&dead).unwrap();
    fs::rename(draft.join("gone-0"), dead.join("gone-0")).unwrap();
    std::mem::forget(taken);
    assert_eq!(left(&Images::open(dir.path()).unwrap()), []);
    assert!(!dead.exists(), "what nobody holds is removed by the next start");
}
