//! What images are made of comes out as it went in.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use artifact::rootfs::layers::Compression;

use crate::archive::{Item, TIME, archive, gzip, zstd};
use crate::image::Bench;

#[tokio::test]
async fn a_layer_is_applied_however_it_is_compressed() {
    let plain =
        archive(&[Item::dir("etc").mode(0o750), Item::file("etc/motd", "hello").owner(3, 4).mode(0o4755)]);
    let mut digests = Vec::new();
    for (layer, compression) in [
        (plain.clone(), Compression::None),
        (gzip(&plain), Compression::Gzip),
        (zstd(&plain), Compression::Zstd),
        (zstd(&plain), Compression::Detect),
    ] {
        let bench = Bench::new();
        let report = bench.report(&layer, compression).await.unwrap();
        assert_eq!((report.entries, report.archive_bytes), (2, plain.len() as u64));
        digests.push(report.diff_id);
        let motd = bench.tree().join("etc/motd");
        assert_eq!(fs::read_to_string(&motd).unwrap(), "hello");
        let metadata = fs::metadata(&motd).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (3, 4, 0o4755));
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (TIME, 0));
        assert_eq!(fs::metadata(bench.tree().join("etc")).unwrap().mtime(), TIME);
    }
    digests.dedup();
    assert_eq!(digests.len(), 1);
}

#[tokio::test]
async fn upper_layers_hide_replace_and_link_what_is_below() {
    let below = archive(&[
        Item::dir("gone"),
        Item::file("gone/deep", "1"),
        Item::dir("emptied"),
        Item::file("emptied/old", "2"),
        Item::file("kept", "3"),
        Item::symlink("lib", "usr/lib"),
        Item::dir("usr/lib"),
    ]);
    let above = archive(&[
        Item::file(".wh.gone", ""),
        Item::file("emptied/new", "4"),
        Item::file("emptied/.wh..wh..opq", ""),
        Item::hard_link("twin", "kept"),
        Item::file("lib/inside", "5"),
        Item::new(b'6', "pipe"),
        Item::device(b'3', "null", 1, 3),
    ]);
    let bench = Bench::new();
    let tree = bench.unpack(&[below, above]).await.unwrap();
    assert!(!tree.join("gone").exists());
    assert_eq!(names(&tree.join("emptied")), ["new"]);
    let inode = |name: &str| fs::metadata(tree.join(name)).unwrap().ino();
    assert_eq!(inode("kept"), inode("twin"));
    assert_eq!(fs::read_to_string(tree.join("usr/lib/inside")).unwrap(), "5");
    assert!(fs::metadata(tree.join("pipe")).unwrap().file_type().is_fifo());
    assert_eq!(fs::metadata(tree.join("null")).unwrap().rdev(), 0x103);
    assert_eq!(fs::read_to_string(bench.dir.path().join("canary")).unwrap(), "untouched");
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
