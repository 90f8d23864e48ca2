//! What is stored comes back, and costs no more than it has to.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use artifact::snapshot::{CHUNK_BYTES, Error};

use crate::tree::{self, facts};
use crate::yard::Yard;

const CHUNK: u64 = CHUNK_BYTES as u64;

pub fn what_was_stored_comes_back(yard: &Yard) {
    let snapshots = yard.open();
    let stored = yard.store(&snapshots, "one", &[Some(1), None, Some(2), Some(1), None]);
    assert_eq!(stored.bytes_logical, 5 * CHUNK + 60_000 + 5_000);
    // Two chunks that are the same are one.
    assert_eq!(stored.bytes_new, 2 * CHUNK + 60_000 + 5_000);
    assert!(stored.bytes_stored < stored.bytes_new, "text is compressed: {stored:?}");
    assert_eq!(snapshots.facts(&stored.root).unwrap(), facts("one"));
    assert!(yard.comes_back(&snapshots, &stored.root, "one").unwrap());
    let listed = snapshots.list().unwrap();
    assert_eq!(listed.iter().map(|entry| entry.root).collect::<Vec<_>>(), [stored.root]);
    snapshots.remove(&stored.root).unwrap();
    snapshots.remove(&stored.root).unwrap();
    assert!(matches!(snapshots.facts(&stored.root), Err(Error::NotFound { .. })));
    assert_eq!(snapshots.list().unwrap(), []);
    assert_eq!(yard.objects("intents"), [""; 0]);
}

pub fn what_did_not_change_is_not_stored_twice(yard: &Yard) {
    let snapshots = yard.open();
    let seeds: Vec<_> = (0..20).map(Some).collect();
    let first = yard.store(&snapshots, "one", &seeds);
    let packs = yard.objects("packs");
    let again = yard.store(&snapshots, "again", &seeds);
    assert_eq!((again.bytes_new, yard.objects("packs")), (0, packs));
    let mut changed = seeds.clone();
    (changed[3], changed[11]) = (Some(103), None);
    let second = yard.store(&snapshots, "two", &changed);
    assert_eq!(second.bytes_new, CHUNK);
    for (root, name) in [(first.root, "one"), (again.root, "again"), (second.root, "two")] {
        assert!(yard.comes_back(&snapshots, &root, name).unwrap());
    }
    // The same with the same facts is another snapshot: whoever removes one does not remove both.
    assert_ne!(yard.store(&snapshots, "two", &changed).root, second.root);
    assert_eq!(snapshots.list().unwrap().len(), 4);
}

pub fn holes_and_zeros_cost_nothing(yard: &Yard) {
    let snapshots = yard.open();
    let dir = yard.path("sparse");
    fs::create_dir_all(&dir).unwrap();
    let pages = File::create(dir.join("pages.img")).unwrap();
    pages.set_len(64 << 30).unwrap();
    pages.write_all_at(b"x", 40 << 30).unwrap();
    // Zeros that the file system does not know of.
    pages.write_all_at(&vec![0; 4 * CHUNK_BYTES], 1 << 30).unwrap();
    let stored = snapshots.store(&dir, &facts("sparse")).unwrap();
    assert_eq!((stored.bytes_logical, stored.bytes_new), (64 << 30, CHUNK));
    assert!(stored.bytes_stored < 4096, "{stored:?}");
    let back = yard.path("back");
    snapshots.fetch(&stored.root, &back).unwrap();
    let pages = File::open(back.join("pages.img")).unwrap();
    assert_eq!(pages.metadata().unwrap().len(), 64 << 30);
    assert!(tree::bytes_on_disk(&back.join("pages.img")) <= 64 << 10);
    let mut byte = [0; 2];
    pages.read_exact_at(&mut byte, (40 << 30) - 1).unwrap();
    assert_eq!(&byte, b"\0x");
}

pub fn another_process_finds_what_this_one_stored(yard: &Yard) {
    let stored = yard.store(&yard.open(), "one", &[Some(1), Some(2)]);
    let other = yard.open();
    assert_eq!(other.facts(&stored.root).unwrap(), facts("one"));
    assert!(yard.comes_back(&other, &stored.root, "one").unwrap());
    assert_eq!(yard.store(&other, "two", &[Some(2), Some(1)]).bytes_new, 0);
}

pub fn what_cannot_be_stored_or_fetched_says_why(yard: &Yard) {
    let snapshots = yard.open();
    let stored = yard.store(&snapshots, "one", &[Some(1)]);
    // A file that is there is not written over, and stays.
    let back = yard.path("back");
    fs::create_dir_all(&back).unwrap();
    fs::write(back.join("pages.img"), "mine").unwrap();
    let error = snapshots.fetch(&stored.root, &back).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(fs::read_dir(&back).unwrap().count(), 1, "what was begun is gone");
    assert_eq!(fs::read(back.join("pages.img")).unwrap(), b"mine");
    fs::create_dir(yard.path("one").join("inner")).unwrap();
    let error = snapshots.store(&yard.path("one"), &facts("one")).unwrap_err();
    assert!(matches!(error, Error::Unsuited { .. }) && error.to_string().contains("inner"), "{error}");
    assert!(snapshots.store(&yard.path("none"), &facts("none")).is_err());
    assert_eq!(snapshots.list().unwrap().len(), 1);
}
