//! Our trees are those that `umoci unpack` makes, entry for entry, but for what is told here by name.

use std::path::Path;

use crate::archive::{Item, TIME, archive, gzip, zstd};
use crate::image::Bench;
use crate::look::{Look, Tree, differences, look};
use crate::oracle::{Blob, Compress, OciImage};

/// How umoci differs, and why we do not do as it does.
const DEVIATIONS: [(&str, Adjust); 3] = [
    (
        "directories that no entry spoke of, and those it took something out of, and the root, were changed when they \
         were unpacked: then the same image is another one each time",
        |began, ours, theirs| {
            for (path, theirs) in theirs.iter_mut().filter(|(_, look)| look.kind == "directory") {
                let is_now = theirs.mtime.0 >= began;
                if let Some(ours) = ours.get(path).filter(|ours| is_now && ours.mtime.0 < began) {
                    theirs.mtime = ours.mtime;
                }
            }
        },
    ),
    (
        "directories that no entry spoke of get the group, and give it, where the one above does; ours are root's and \
         0755 everywhere",
        |_, ours, theirs| {
            for (path, theirs) in theirs.iter_mut().filter(|(_, look)| look.mode == 0o2755) {
                let implied = |ours: &&Look| ours.mode == 0o755 && ours.owner == (0, 0);
                if let Some(ours) = ours.get(path).filter(implied) {
                    (theirs.mode, theirs.owner) = (ours.mode, ours.owner);
                }
            }
        },
    ),
    (
        "it sets attributes of the host's OverlayFS and access lists; the one would lead the host astray, and nobody \
         enforces the other",
        |_, _, theirs| {
            for look in theirs.values_mut() {
                look.xattrs.retain(|name, _| !name.starts_with("trusted.") && !name.starts_with("system."));
            }
        },
    ),
];

/// Makes umoci's tree what it would be without the deviation. It began at this time.
type Adjust = fn(began: i64, ours: &Tree, theirs: &mut Tree);

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs() as i64
}

/// What both make of archives that mean the same. Whether they make anything: both may refuse them.
pub async fn compare_archives(archives: &[Vec<u8>], for_umoci: &[Vec<u8>]) -> bool {
    let (bench, began) = (Bench::new(), now());
    let layers: Vec<Blob> = for_umoci.iter().map(|layer| (layer.clone(), gzip as Compress)).collect();
    let image = OciImage::write(&bench.dir.path().join("oci"), &layers);
    let theirs = image.unpacked_by_umoci(&bench.dir.path().join("theirs"));
    let ours = bench.unpack(archives).await;
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_same(began, &ours, &theirs);
            true
        }
        (Err(_), Err(_)) => false,
        // It removes what a hard link replaces before it looks for the target, which may be just that; ours stays.
        (Ok(_), Err(theirs)) if theirs.contains("link: no such file or directory") => false,
        (ours, theirs) => panic!("ours: {ours:?}\ntheirs: {theirs:?}"),
    }
}

pub async fn compare(layers: &[Vec<Item>]) {
    let archives: Vec<Vec<u8>> = layers.iter().map(archive).collect();
    assert!(compare_archives(&archives, &archives).await);
}

fn assert_same(began: i64, ours: &Path, theirs: &Path) {
    let (ours, mut theirs) = (look(ours), look(theirs));
    DEVIATIONS.iter().for_each(|(_, adjust)| adjust(began, &ours, &mut theirs));
    let differences = differences(&ours, &theirs);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Attributes of a file capability, `cap_net_raw+ep` (capabilities(7), version 2).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An access list: its version, then the owner, user 1000, the group, the mask and the others (acl(5)).
const ACCESS_LIST: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xe8, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
    16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
];

#[tokio::test]
async fn every_kind_of_entry() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    compare(&[vec![
        Item::dir("./").mode(0o700).mtime(TIME + 1),
        Item::dir("etc/").mode(0o1777).owner(7, 8),
        Item::file("etc/motd", "hello").mode(0o600).owner(1000, 1001).pax("mtime", "1600000000.123456789"),
        Item::file("su", "x").mode(0o6755).owner(5, 6),
        Item::file("empty", ""),
        Item::file("big", vec![7; 1_000_003]),
        Item::file("missing/parents/file", "x"),
        Item::dir("d".repeat(120)),
        Item::file(&long, "long"),
        Item::symlink("link", "etc/motd").owner(3, 4),
        Item::symlink("dangling", "/nowhere/at/all"),
        Item::symlink("longlink", "x/".repeat(150)),
        Item::hard_link("twin", "etc/motd")
            .mode(0o600)
            .owner(1000, 1001)
            .pax("mtime", "1600000000.123456789"),
        Item::new(b'6', "pipe").mode(0o620).owner(1, 2),
        Item::device(b'3', "tty", 5, 1).mode(0o620),
        Item::device(b'4', "disk", 259, 70000).owner(0, 6),
        Item::file("old", "before 1970").mtime(-5),
        Item::file("far", "in the future").mtime(1 << 33),
        Item::file("largest-id", "").owner(4_000_000_000, 3_000_000_000),
        Item::file("contiguous", "as if").type_flag(0),
    ]])
    .await;
}

#[tokio::test]
async fn attributes() {
    compare(&[
        vec![
            Item::file("file", "x").xattr("user.mime", "text/plain").xattr("user.binary", [0, 10, 61, 255]),
            Item::file("ping", "x").mode(0o755).owner(0, 5).xattr("security.capability", CAPABILITY),
            Item::dir("dir").xattr("user.dir", "yes"),
            Item::file("acl", "x").xattr("system.posix_acl_access", ACCESS_LIST),
            Item::file("trusted", "x").xattr("trusted.overlay.redirect", "/etc"),
            Item::file("plain", "x"),
        ],
        vec![Item::dir("dir").xattr("user.other", "yes")],
    ])
    .await;
}

#[tokio::test]
async fn layers_over_layers() {
    compare(&[
        vec![
            Item::dir("a"),
            Item::file("a/one", "1"),
            Item::dir("a/sub"),
            Item::file("a/sub/two", "2"),
            Item::dir("hidden"),
            Item::file("hidden/x", "x"),
            Item::dir("hidden/y"),
            Item::file("file-then-dir", "x"),
            Item::dir("dir-then-file"),
            Item::file("dir-then-file/x", "x"),
            Item::file("file-then-link", "x"),
            Item::symlink("link-then-dir", "a"),
            Item::symlink("through", "a/sub"),
            Item::symlink("absolute", "/a"),
            Item::symlink("up", "../../../a"),
            Item::dir("emptied"),
            Item::file("emptied/old", "x"),
            Item::file("linked", "content"),
        ],
        vec![
            Item::file("a/.wh.one", ""),
            Item::file("hidden/z", "z").mtime(TIME + 5),
            Item::file(".wh.hidden", ""),
            Item::dir("file-then-dir"),
            Item::file("file-then-dir/y", "y"),
            Item::file("dir-then-file", "now a file"),
            Item::symlink("file-then-link", "a"),
            Item::dir("link-then-dir"),
            Item::file("link-then-dir/x", "x"),
            Item::file("through/three", "3").mtime(TIME + 9),
            Item::file("absolute/four", "4"),
            Item::file("up/five", "5"),
            Item::dir("emptied").mtime(TIME + 7),
            Item::file("emptied/new", "new"),
            Item::file("emptied/.wh..wh..opq", ""),
            Item::hard_link("twin", "linked"),
            Item::hard_link("a/third", "twin"),
            Item::file("a/sub/two", "replaced").mode(0o400),
        ],
        vec![
            Item::file("a/sub/.wh.two", ""),
            Item::file(".wh.nothing", ""),
            Item::file(".wh.linked", ""),
            Item::dir("a").mode(0o711).mtime(TIME + 20),
            Item::file("a/sub/two", "back again"),
            Item::file("same", "first"),
            Item::file("same", "second"),
            Item::dir("same-dir"),
            Item::file("same-dir/x", "x"),
            Item::dir("same-dir").mode(0o700),
            Item::hard_link("a/sub/self", "a/sub/two"),
            Item::hard_link("a/sub/self", "a/sub/two"),
        ],
    ])
    .await;
}

#[tokio::test]
async fn what_gnu_tar_writes_in_each_of_its_formats() {
    let work = tempfile::tempdir().unwrap();
    let make = r#"
        mkdir -p tree/sub/dir && cd tree
        truncate -s 3M holes && printf end >> holes && printf middle | dd of=holes bs=1 seek=1500000 conv=notrunc
        truncate -s 1M all-hole
        for piece in $(seq 0 2 120); do printf x | dd of=comb bs=4096 seek=$piece conv=notrunc; done
        printf plain > sub/dir/plain; ln sub/dir/plain sub/twin; ln -s ../holes sub/link; mkfifo pipe
        printf x > "$(printf 'n%.0s' $(seq 150))"; printf x > "$(printf 'line\nend')"; printf x > 'größe'
        setfattr -n user.note -v "$(printf 'a\nb')" sub/dir/plain; chmod 2755 sub; chown 12:34 sub/dir/plain
    "#;
    sh(work.path(), make);
    for format in [
        "--format=v7 --exclude=n* --exclude=pipe",
        "--format=ustar --exclude=n*",
        "--format=gnu",
        "--format=pax --xattrs",
        "--format=pax --sparse --sparse-version=0.0",
        "--format=pax --sparse --sparse-version=0.1",
        "--format=pax --sparse --sparse-version=1.0",
    ] {
        sh(work.path(), &format!("tar --numeric-owner {format} -C tree -cf layer.tar ."));
        eprintln!("{format}");
        let layer = std::fs::read(work.path().join("layer.tar")).unwrap();
        assert!(compare_archives(std::slice::from_ref(&layer), std::slice::from_ref(&layer)).await);
    }
    // It refuses GNU's own way to write holes, and the remarks that git puts before all entries; so it gets the
    // archives without.
    for (with, without) in [
        ("--format=gnu --sparse", "--format=gnu"),
        ("--format=pax --pax-option=globexthdr.comment=hello", "--format=pax"),
    ] {
        let [ours, theirs] = [with, without].map(|format| {
            sh(work.path(), &format!("tar --numeric-owner {format} -C tree -cf layer.tar ."));
            vec![std::fs::read(work.path().join("layer.tar")).unwrap()]
        });
        assert_ne!(ours, theirs);
        assert!(compare_archives(&ours, &theirs).await);
    }
}

#[tokio::test]
async fn zstd_and_docker_variants() {
    let layers = [
        vec![Item::dir("a"), Item::file("a/one", "1"), Item::file("two", vec![2; 300_000])],
        vec![Item::file("a/.wh.one", ""), Item::hard_link("three", "two")],
    ];
    let (bench, began) = (Bench::new(), now());
    let blobs: Vec<Blob> = layers.iter().map(|layer| (archive(layer), zstd as Compress)).collect();
    let image = OciImage::write(&bench.dir.path().join("zstd"), &blobs);
    let readable = image.converted(&bench.dir.path().join("gzip"), &["--dest-compress-format", "gzip"]);
    let theirs = readable.unpacked_by_umoci(&bench.dir.path().join("theirs")).unwrap();

    let zstd_layers: Vec<Vec<u8>> = layers.iter().map(|layer| zstd(&archive(layer))).collect();
    assert_same(began, &bench.unpack(&zstd_layers).await.unwrap(), &theirs);
    let docker_layers = readable.docker_layers(&bench.dir.path().join("docker"));
    assert_same(began, &Bench::new().unpack(&docker_layers).await.unwrap(), &theirs);
}

fn sh(dir: &Path, script: &str) {
    let output = std::process::Command::new("sh").args(["-ec", script]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}
