//! The same tree gives the same image, however it came to be on the disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use artifact::rootfs::erofs::{self, Times};
use wire::image::Digest;

const EPOCH: Times = Times::UpTo(1_000_000_000);

/// A tree of all kinds of entries, its directory entries made in this order.
fn make_tree(tree: &Path, names: &[&str]) {
    fs::create_dir(tree).unwrap();
    for name in names {
        let dir = tree.join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("data"), name.repeat(10_000)).unwrap();
        fs::write(dir.join("empty"), "").unwrap();
        fs::set_permissions(dir.join("data"), fs::Permissions::from_mode(0o751)).unwrap();
        fs::hard_link(dir.join("data"), dir.join("twin")).unwrap();
        symlink("../elsewhere", dir.join("link")).unwrap();
    }
}

async fn pack(work: &Path, name: &str, names: &[&str]) -> Digest {
    let tree = work.join(name);
    make_tree(&tree, names);
    erofs::pack(&tree, &work.join(format!("{name}.erofs")), EPOCH).await.unwrap()
}

#[tokio::test]
async fn the_same_tree_made_twice_in_another_order_gives_the_same_digest() {
    let work = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..40).map(|number| format!("dir{number}")).collect();
    let forwards: Vec<&str> = names.iter().map(String::as_str).collect();
    let backwards: Vec<&str> = forwards.iter().rev().copied().collect();
    let first = pack(work.path(), "first", &forwards).await;
    let second = pack(work.path(), "second", &backwards).await;
    assert_eq!(first, second);
    assert_eq!(
        fs::read(work.path().join("first.erofs")).unwrap(),
        fs::read(work.path().join("second.erofs")).unwrap()
    );
}

#[tokio::test]
async fn another_tree_gives_another_digest() {
    let work = tempfile::tempdir().unwrap();
    let plain = pack(work.path(), "plain", &["etc"]).await;
    let more = pack(work.path(), "more", &["etc", "usr"]).await;
    assert_ne!(plain, more);

    let tree = work.path().join("mode");
    make_tree(&tree, &["etc"]);
    fs::set_permissions(tree.join("etc/empty"), fs::Permissions::from_mode(0o600)).unwrap();
    let mode = erofs::pack(&tree, &work.path().join("mode.erofs"), EPOCH).await.unwrap();
    assert_ne!(plain, mode, "a file's mode is not in the image");
}

#[tokio::test]
async fn a_tree_that_is_not_there_is_an_error_that_names_it() {
    let work = tempfile::tempdir().unwrap();
    let missing = work.path().join("missing");
    let error = erofs::pack(&missing, &work.path().join("image"), EPOCH).await.unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}
