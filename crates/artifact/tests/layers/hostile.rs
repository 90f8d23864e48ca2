//! What no honest tool writes: it is refused with a reason that names layer and entry, or does no harm. In either case
//! nothing outside the tree changes.

use std::fs;
use std::time::Duration;

use artifact::Error;
use artifact::rootfs::layers::Limits;

use crate::archive::{Item, archive, gzip, padded, record, sealed, zstd};
use crate::image::Bench;
use crate::look::{Tree, look};

/// All that a test can see of its bench but the tree.
fn outside(bench: &Bench) -> Tree {
    let mut seen = look(bench.dir.path());
    let tree = bench.tree().strip_prefix(bench.dir.path()).unwrap().to_owned();
    // The draft's own directory gets the tree, which changes its time.
    let draft = tree.parent().unwrap().to_owned();
    seen.retain(|path, _| !path.starts_with(&tree) && *path != draft);
    seen
}

/// What becomes of these layers, with nothing changed outside.
async fn outcome(layers: &[Vec<u8>], limits: Limits) -> Result<Tree, String> {
    let bench = Bench::new();
    let before = outside(&bench);
    let outcome = bench.unpack_within(layers, limits).await;
    assert_eq!(outside(&bench), before);
    match outcome {
        Ok(tree) => Ok(look(&tree)),
        Err(error @ Error::Layer { .. }) => Err(error.to_string()),
        Err(other) => panic!("no fault of a layer: {other:?}"),
    }
}

async fn refused_within(limits: Limits, layers: &[Vec<u8>], reason: &str) {
    match outcome(layers, limits).await {
        Err(error) => {
            assert!(error.contains(reason), "{error}, not: {reason}");
            assert!(error.starts_with(&format!("layer {} ", layers.len())), "{error}");
            assert!(!error.contains('\n') && error.len() < 2000, "{error}");
        }
        Ok(tree) => panic!("it was accepted, and should have been refused: {reason}; {tree:?}"),
    }
}

async fn refused(items: &[Item], reason: &str) {
    refused_within(Limits::default(), &[archive(items)], reason).await;
}

/// The names in the tree that harmless layers make.
async fn harmless(layers: &[&[Item]], names: &[&str]) {
    let layers: Vec<Vec<u8>> = layers.iter().map(|items| archive(*items)).collect();
    let tree = outcome(&layers, Limits::default()).await.unwrap();
    let seen: Vec<&str> =
        tree.keys().filter_map(|path| path.to_str()).filter(|path| !path.is_empty()).collect();
    assert_eq!(seen, names);
}

#[tokio::test]
async fn names_that_try_to_leave_stay() {
    harmless(&[&[Item::file("../../../../escaped", "x")]], &["escaped"]).await;
    harmless(&[&[Item::file("/../escaped", "x")]], &["escaped"]).await;
    harmless(&[&[Item::file("/etc/passwd", "x")]], &["etc", "etc/passwd"]).await;
    harmless(&[&[Item::file("a/../../b/./../c", "x")]], &["c"]).await;
    harmless(&[&[Item::dir(".."), Item::dir("../..")]], &[]).await;
}

#[tokio::test]
async fn links_lead_nowhere_but_into_the_tree() {
    // Each is followed by a write through it, in the same layer or in the next.
    for target in ["/", "../../../..", "/../..", "./../.."] {
        let items = [Item::symlink("out", target), Item::file("out/escaped", "x")];
        harmless(&[&items], &["escaped", "out"]).await;
        harmless(&[&items[..1], &items[1..]], &["escaped", "out"]).await;
    }
    let chain = [Item::symlink("a", "b"), Item::symlink("b", "../../c"), Item::file("a/x", "x")];
    harmless(&[&chain], &["a", "b", "c", "c/x"]).await;
    // A file that replaces a link replaces the link, not what it leads to.
    harmless(&[&[Item::file("x", "1"), Item::symlink("y", "x"), Item::file("y", "2")]], &["x", "y"]).await;
    harmless(
        &[&[Item::symlink("y", "/proc/self/root/etc"), Item::file("y/x", "2")]],
        &["proc", "proc/self", "proc/self/root", "proc/self/root/etc", "proc/self/root/etc/x", "y"],
    )
    .await;
    refused(&[Item::symlink("a", "b"), Item::symlink("b", "a"), Item::file("a/x", "x")], "links lead to")
        .await;
    refused(&[Item::symlink("a", "a/a"), Item::file("a/x", "x")], "links lead to").await;
    refused(&[Item::symlink("a", "f"), Item::file("f", ""), Item::file("a/x", "x")], "is none").await;
}

#[tokio::test]
async fn a_link_that_grows_where_it_leads_comes_to_an_end() {
    let mut items = vec![Item::dir("d")];
    // Each leads to two of the one before: in the end to 2^40 parts.
    items.push(Item::symlink("l0", "d/../d"));
    items.extend((1..40).map(|n| Item::symlink(format!("l{n}"), format!("l{0}/../l{0}", n - 1))));
    items.push(Item::file("l39/x", "x"));
    refused(&items, "entry `l39/x`").await;
    // Deeper than a path can say, by a link to the end of the last.
    let deep = "d/".repeat(200);
    let items = [Item::dir(&deep), Item::symlink("s", &deep), Item::dir(format!("s/{deep}"))];
    refused(&items, "256").await;
    refused(&[Item::dir("d/".repeat(300))], "256").await;
}

#[tokio::test]
async fn hard_links_reach_what_is_in_the_tree_and_no_directory() {
    refused(&[Item::hard_link("x", "../../../../etc/passwd")], "link's target: its directory is missing")
        .await;
    refused(&[Item::hard_link("x", "/etc/shadow")], "target").await;
    refused(&[Item::symlink("out", "/etc"), Item::hard_link("x", "out/passwd")], "target").await;
    refused(&[Item::hard_link("x", "x")], "find the link's target").await;
    refused(&[Item::dir("d"), Item::hard_link("x", "d")], "directory").await;
    refused(&[Item::hard_link("x", ".")], "the root").await;
    refused(&[Item::hard_link("x", "")], "empty").await;
    // To a link: the link gets another name, and is not followed.
    harmless(&[&[Item::symlink("s", "/etc/passwd"), Item::hard_link("x", "s")]], &["s", "x"]).await;
    // What it replaces held its target.
    refused(&[Item::dir("d"), Item::file("d/x", "x"), Item::hard_link("d", "d/x")], "make it").await;
    harmless(&[&[Item::file("x", "1"), Item::hard_link("x", "x")]], &["x"]).await;
}

#[tokio::test]
async fn the_root_stays_a_directory() {
    for item in [
        Item::file(".", "x"),
        Item::symlink("/", "/etc"),
        Item::hard_link("./", "x"),
        Item::device(b'3', "..", 1, 3),
        Item::new(b'6', "/."),
    ] {
        refused(&[Item::file("x", "x"), item], "the root").await;
    }
}

#[tokio::test]
async fn whiteouts_of_what_is_not_theirs_are_refused_or_hide_nothing() {
    refused(&[Item::file(".wh.", "")], "no name").await;
    refused(&[Item::file(".wh..", "")], "no name").await;
    refused(&[Item::file("a/.wh...", "")], "no name").await;
    let below: &[Item] = &[Item::dir("d"), Item::file("d/x", "x")];
    harmless(&[below, &[Item::file("../.wh.canary", "")]], &["d", "d/x"]).await;
    harmless(&[below, &[Item::symlink("s", "/../.."), Item::file("s/.wh.canary", "")]], &["d", "d/x", "s"])
        .await;
    // Opaque through a link that leads to the root: everything below is hidden, nothing outside.
    harmless(&[below, &[Item::symlink("s", "../.."), Item::file("s/.wh..wh..opq", "")]], &["s"]).await;
    harmless(&[below, &[Item::file(".wh..wh..opq", "")]], &[]).await;
    harmless(&[below, &[Item::dir(".wh..wh.plnk"), Item::file(".wh..wh.plnk/9.9", "x")]], &["d", "d/x"])
        .await;
    // A whiteout that is a link or a directory is a whiteout.
    harmless(&[below, &[Item::symlink(".wh.d", "/etc")]], &[]).await;
}

#[tokio::test]
async fn names_that_no_name_can_be() {
    refused(&[Item::file("a", "").pax("path", "a\0b")], "NUL").await;
    refused(&[Item::symlink("a", "x").pax("linkpath", "a\0b")], "NUL").await;
    refused(&[Item::file("x/".repeat(3000), "")], "4095").await;
    refused(&[Item::symlink("s", "x/".repeat(3000))], "4095").await;
    refused(&[Item::file("n".repeat(300), "")], "name too long").await;
    refused(&[Item::symlink("s", "")], "empty").await;
    refused(&[Item::file("", "")], "empty").await;
    harmless(&[&[Item::file("line\nend\u{1b}[2J", "x")]], &["line\nend\u{1b}[2J"]).await;
    let faulty = [Item::hard_link("line\nend\u{1b}[2J", "nowhere")];
    refused(&faulty, r"entry `line\nend\u{1b}[2J`").await;
}

#[tokio::test]
async fn headers_that_lie() {
    let good = Item::file("x", "content");
    let mut bad_sum = archive([&good]);
    bad_sum[0] = b'y';
    refused_within(Limits::default(), &[bad_sum], "checksum").await;
    refused(&[good.clone().size(1 << 40)], "bytes of files").await;
    refused(&[good.clone().size(u64::MAX / 2)], "bytes of files").await;
    refused(&[good.clone().pax("size", "9223372036854775807")], "bytes of files").await;
    refused(&[good.clone().pax("size", "9223372036854775808")], "not a number").await;
    refused(&[good.clone().pax("size", "-1")], "not a number").await;
    refused(&[good.clone().size(5000)], "the archive ends within the entry").await;
    refused(&[good.clone().owner(u32::MAX, 0)], "uid").await;
    refused(&[good.clone().pax("uid", "4294967296")], "uid").await;
    refused(&[good.clone().pax("mtime", "yesterday")], "not a time").await;
    refused(&[good.clone().type_flag(b'M')], "type `M`").await;
    refused(&[good.clone().type_flag(0xff)], "type").await;
    let mut field = good.header();
    field[100..108].copy_from_slice(b"99999999");
    refused_within(Limits::default(), &[sealed(field).to_vec()], "mode").await;
    // A link with a size has no content: what follows is the next entry, as everybody reads it.
    harmless(
        &[&[good.clone(), Item::symlink("s", "x").size(512), Item::file("after", "x")]],
        &["after", "s", "x"],
    )
    .await;
}

#[tokio::test]
async fn archives_that_end_too_early_or_are_none() {
    let whole = archive([&Item::file("x", vec![1; 2000])]);
    let limits = Limits::default;
    refused_within(limits(), &[whole[..300].to_vec()], "within a header").await;
    refused_within(limits(), &[whole[..1000].to_vec()], "within the entry").await;
    refused_within(limits(), &[b"this is no archive, whatever its name says".repeat(100)], "header").await;
    let zipped = gzip(&whole);
    refused_within(limits(), &[zipped[..zipped.len() / 2].to_vec()], "gzip").await;
    let mut wrong_sum = zipped.clone();
    let end = wrong_sum.len();
    wrong_sum[end - 6] ^= 1;
    refused_within(limits(), &[wrong_sum], "gzip").await;
    refused_within(limits(), &[[zipped.clone(), b"junk".to_vec()].concat()], "gzip").await;
    let squeezed = zstd(&whole);
    refused_within(limits(), &[squeezed[..squeezed.len() - 9].to_vec()], "").await;
    let mut amid = whole.clone();
    amid.splice(0..0, [0; 512]);
    refused_within(limits(), &[amid], "empty block").await;
    refused_within(
        limits(),
        &[Item::file("pax", record(b"path", b"x")).type_flag(b'x').bytes()],
        "announced",
    )
    .await;
    // Nothing at all is an empty layer.
    assert_eq!(outcome(&[Vec::new(), vec![0; 1024]], limits()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn bombs_end_at_the_limits() {
    let zeros = archive([&Item::file("zeros", vec![0; 64 << 20])]);
    let small = Limits { expansion_free_bytes: 1 << 20, expansion_max: 50, ..Limits::default() };
    refused_within(small.clone(), &[gzip(&zeros)], "50 times its size").await;
    refused_within(small, &[zstd(&zeros)], "50 times its size").await;
    let small = Limits { archive_bytes_max: 1 << 20, ..Limits::default() };
    refused_within(small, &[gzip(&zeros)], "1048576 bytes").await;
    let small = Limits { file_bytes_max: 1 << 20, ..Limits::default() };
    refused_within(small, &[gzip(&zeros)], "1048576 bytes of files").await;

    let many: Vec<Item> = (0..2000).map(|number| Item::file(number.to_string(), "")).collect();
    let small = Limits { entries_max: 1500, ..Limits::default() };
    refused_within(small, &[archive(&many[..1000]), archive(&many[1000..])], "1500 entries").await;
    let small = Limits { layers_max: 2, ..Limits::default() };
    refused_within(small, &[Vec::new(), Vec::new(), Vec::new()], "2 layers").await;

    // A gigantic record, announced and not sent; and one that is.
    let pax = Item::new(b'x', "pax").size(1 << 33).bytes();
    refused_within(Limits::default(), &[pax], "stands before an entry").await;
    refused(&[Item::file("x", "").pax("comment", "x".repeat(2 << 20))], "stands before an entry").await;
    refused(&[Item::file("x", "x".repeat(2 << 20)).type_flag(b'L')], "stands before an entry").await;
    refused(&[Item::file("x", "").xattr("user.big", "x".repeat(70 << 10))], "extended attributes").await;
    let xattrs =
        (0..500).fold(Item::file("x", ""), |item, n| item.xattr(&format!("user.{n}"), "x".repeat(120)));
    refused(&[xattrs], "attribute").await;
}

#[tokio::test]
async fn maps_of_holes_that_make_no_sense() {
    let sparse = |map: &str, size: u64, content: &[u8]| {
        Item::file("GNUSparseFile.0/x", content)
            .pax("GNU.sparse.map", map)
            .pax("GNU.sparse.size", size.to_string())
            .pax("GNU.sparse.name", "x")
    };
    for map in ["0,9", "5,3,0,2", "0,3,2,2", "9223372036854775807,5", "0", "0,5,", "a,5", "90,5"] {
        refused(&[sparse(map, 90, b"12345")], "map").await;
    }
    // As long as a disk can be: it would all be in the packed image.
    refused(&[sparse("0,5", 1 << 50, b"12345")], "bytes of files").await;
    let text = |map: &str| {
        Item::file("x", padded(map.as_bytes()))
            .pax("GNU.sparse.major", "1")
            .pax("GNU.sparse.minor", "0")
            .pax("GNU.sparse.realsize", "100")
    };
    for map in ["99999999999\n", "70000\n", "2\n0\n1\n", "x\n", "", "1\n0\n"] {
        refused(&[text(map)], "").await;
    }
    refused(&[text("0\n").pax("GNU.sparse.minor", "7")], "not known").await;
}

#[tokio::test]
async fn entries_below_what_is_no_directory() {
    refused(&[Item::file("f", "x"), Item::file("f/x", "x")], "is none").await;
    refused(&[Item::device(b'3', "null", 1, 3), Item::file("null/x", "x")], "is none").await;
    refused(&[Item::new(b'6', "pipe"), Item::hard_link("x", "pipe/x")], "is missing").await;
}

/// What is written to a device or a pipe of the tree would be written to the host's.
#[tokio::test]
async fn devices_and_pipes_are_replaced_and_never_opened() {
    let special =
        [Item::device(b'4', "disk", 7, 0), Item::new(b'6', "pipe"), Item::device(b'3', "mem", 1, 1)];
    let plain = ["disk", "pipe", "mem"].map(|name| Item::file(name, "a file"));
    harmless(&[&special, &plain], &["disk", "mem", "pipe"]).await;
    let layers = [archive(&special), archive(&plain)];
    let tree = outcome(&layers, Limits::default()).await.unwrap();
    assert!(tree.values().filter(|look| look.kind.starts_with("file")).count() == 3, "{tree:?}");
}

#[tokio::test]
async fn a_child_that_takes_too_much_dies_and_says_of_what() {
    let layer = archive([&Item::file("x", vec![3; 4 << 20])]);
    let small = Limits { memory_bytes_max: 8 << 20, ..Limits::default() };
    let bench = Bench::new();
    let error = bench.unpack_within(&[layer], small).await.unwrap_err().to_string();
    assert!(error.contains("8388608 bytes of memory"), "{error}");
}

#[tokio::test]
async fn a_child_that_stalls_is_given_up() {
    let bench = Bench::new();
    let limits = Limits { stall_max: Duration::from_millis(300), ..Limits::default() };
    // A layer over a frame's worth whose process is stopped.
    let mut unpacker =
        artifact::rootfs::layers::Unpacker::start(&crate::image::program(), bench.draft(), limits)
            .await
            .unwrap();
    for pid in crate::confinement::children_of(&bench) {
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }
    let layer = vec![0; 64 << 20];
    let error = unpacker
        .apply(layer.as_slice(), artifact::rootfs::layers::Compression::None, None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("did nothing for 300ms"), "{error}");
    assert_eq!(fs::read_to_string(bench.dir.path().join("canary")).unwrap(), "untouched");
}
