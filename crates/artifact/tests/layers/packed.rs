//! What is in the tree is in the image: attributes, times and devices too; and the same layers are the same image.

use std::path::Path;
use std::process::Command;

use artifact::rootfs::erofs::{self, Times};
use artifact::rootfs::layers::Limits;
use wire::image::Digest;

use crate::archive::{Item, TIME, archive, gzip, zstd};
use crate::image::Bench;
use crate::look::{differences, look};

/// Mounts an image for as long as this lives.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(image: &Path, at: &'a Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "erofs", "-o", "ro,loop"]).arg(image).arg(at).status().unwrap();
        assert!(status.success());
        Self(at)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn items() -> Vec<Item> {
    let capability: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    vec![
        Item::dir("./").mode(0o711).mtime(TIME - 1),
        Item::file("ping", "x").mode(0o4755).owner(0, 7).xattr("security.capability", capability),
        Item::file("noted", "x").xattr("user.note", "n").pax("mtime", "1234567890.123456789"),
        Item::file("big-note", "x").xattr("user.note", "n".repeat(2000)),
        Item::dir("dir").xattr("user.note", "n"),
        Item::file("dir/third", "x").xattr("user.note", "n"),
        Item::hard_link("dir/twin", "noted").xattr("user.note", "n").pax("mtime", "1234567890.123456789"),
        Item::symlink("link", "dir/twin").owner(70_000, 80_000),
        Item::device(b'3', "tty", 5, 1).mode(0o620),
        Item::device(b'4', "disk", 259, 70_000),
        Item::new(b'6', "pipe"),
        Item::file("old", "x").mtime(-86_400),
        Item::file("far", "x").mtime(1 << 33),
        Item::file("big", vec![5; 3_000_001]),
        Item::file("below/no/entry", "x"),
    ]
}

async fn pack(bench: &Bench, layers: &[Vec<u8>]) -> Digest {
    let tree = bench.unpack(layers).await.unwrap();
    erofs::pack(&tree, &bench.draft().image_file(), Times::Kept).await.unwrap()
}

#[tokio::test]
async fn what_layers_say_is_what_is_mounted() {
    let bench = Bench::new();
    pack(&bench, &[archive(&items())]).await;
    let place = bench.dir.path().join("mounted");
    let _mounted = Mounted::new(&bench.draft().image_file(), &place);
    let differences = differences(&look(&bench.tree()), &look(&place));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn the_same_layers_are_the_same_image_whenever_and_however_compressed() {
    let layers = [archive(&items()), archive(&[Item::file(".wh.big", ""), Item::file("dir/late", "x")])];
    let (first, second) = (Bench::new(), Bench::new());
    let zipped = layers.each_ref().map(|layer| gzip(layer));
    let squeezed = layers.each_ref().map(|layer| zstd(layer));
    assert_eq!(pack(&first, &zipped).await, pack(&second, &squeezed).await);
}

#[tokio::test]
async fn the_order_of_entries_and_who_wrote_which_layer_do_not_matter() {
    let forwards: Vec<Item> = (0..500).map(numbered).collect();
    let backwards: Vec<Item> = forwards.iter().rev().cloned().collect();
    let (first, second) = (Bench::new(), Bench::new());
    let split = [archive(&backwards[..200]), archive(&backwards[200..])];
    assert_eq!(pack(&first, &[archive(&forwards)]).await, pack(&second, &split).await);
}

fn numbered(number: u32) -> Item {
    let item = Item::file(format!("file-{number}"), number.to_string());
    if number.is_multiple_of(3) { item.xattr("user.number", (number % 9).to_string()) } else { item }
}

/// Measured with a million: see `bench/`.
#[tokio::test]
async fn fifty_thousand_entries_in_little_memory() {
    const ENTRIES: usize = 50_000;
    let items = (0..ENTRIES).map(|number| match number % 100 {
        0 => Item::dir(format!("d{}", number / 100)),
        _ => Item::file(format!("d{}/f{number}", number / 100), "x"),
    });
    let layer = archive(&items.collect::<Vec<_>>());
    let upper = archive(&[Item::file("d7/.wh..wh..opq", ""), Item::file(".wh.d8", "")]);
    let bench = Bench::new();
    let limits = Limits { memory_bytes_max: 256 << 20, ..Limits::default() };
    let tree = bench.unpack_within(&[gzip(&layer), gzip(&upper)], limits).await.unwrap();
    // The root is one, d7 stays empty.
    assert_eq!(look(&tree).len(), 1 + ENTRIES - 99 - 100);
    erofs::pack(&tree, &bench.draft().image_file(), Times::Kept).await.unwrap();
}
