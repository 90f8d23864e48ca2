//! Trees nobody thought of: layers of random operations on few names, so that they meet.

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::archive::{Item, TIME, archive};
use crate::umoci::compare_archives;

/// Images that are compared, if `IMAGES` says no other number. Each takes a tenth of a second.
const IMAGES: u32 = 96;

/// Of directories mostly: most images should become something.
fn path() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..4).prop_map(|parts| parts.join("/"))
}

/// Of what is no directory, mostly.
fn leaf() -> impl Strategy<Value = String> {
    let name = prop_oneof![12 => Just("x"), 12 => Just("y"), 1 => Just("a")];
    (prop_oneof![Just("".to_owned()), path().prop_map(|path| path + "/")], name)
        .prop_map(|(path, name)| path + name)
}

fn target() -> impl Strategy<Value = String> {
    let up = prop_oneof![Just(""), Just("/"), Just("../"), Just("../../../")];
    (up, path()).prop_map(|(up, path)| format!("{up}{path}"))
}

fn whiteout(path: &str) -> Item {
    let (directory, name) = path.rsplit_once('/').map_or(("", path), |(directory, name)| (directory, name));
    Item::file(format!("{directory}/.wh.{name}"), "")
}

fn item() -> impl Strategy<Value = Item> {
    let kind = prop_oneof![
        5 => (leaf(), vec(any::<u8>(), 0..20)).prop_map(|(path, content)| Item::file(path, content)),
        4 => path().prop_map(Item::dir),
        1 => (leaf(), target()).prop_map(|(path, target)| Item::symlink(path, target)),
        1 => (leaf(), path()).prop_map(|(path, target)| Item::hard_link(path, target)),
        1 => leaf().prop_map(|path| whiteout(&path)),
        1 => path().prop_map(|path| whiteout(&path)),
        1 => path().prop_map(|path| Item::file(format!("{path}/.wh..wh..opq"), "")),
        1 => leaf().prop_map(|path| Item::new(b'6', path)),
    ];
    let mode = prop_oneof![Just(0o755u32), Just(0o4711), Just(0o2750), Just(0o1777), Just(0o600), Just(0)];
    (kind, mode, 0u32..3, 0u32..3, 0i64..5)
        .prop_map(|(item, mode, uid, gid, later)| item.mode(mode).owner(uid, gid).mtime(TIME + later))
}

/// Most of the hard links lead to a file that came before, the others wherever they lead.
fn aim(layers: &mut [Vec<Item>]) {
    let mut files: Vec<Vec<u8>> = Vec::new();
    for (index, item) in layers.iter_mut().flatten().enumerate() {
        match item.type_flag {
            b'0' if !item.name.windows(4).any(|part| part == b".wh.") => files.push(item.name.clone()),
            b'1' if !files.is_empty() && item.mtime % 4 != 0 => {
                item.link = files[index % files.len()].clone();
            }
            _ => {}
        }
    }
}

#[test]
fn random_layers_become_what_umoci_makes_of_them() {
    let images = std::env::var("IMAGES").map_or(IMAGES, |images| images.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(Config { cases: images, failure_persistence: None, ..Config::default() });
    let layers = vec(vec(item(), 1..8), 1..4);
    let trees = AtomicU32::new(0);
    let outcome = runner.run(&layers, |mut layers| {
        aim(&mut layers);
        let archives: Vec<Vec<u8>> = layers.iter().map(archive).collect();
        if runtime.block_on(compare_archives(&archives, &archives)) {
            trees.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    outcome.unwrap();
    let trees = trees.into_inner();
    eprintln!("{trees} of {images} became trees");
    assert!(trees > images / 4, "{trees} of {images} became trees; the others were refused by both");
}
