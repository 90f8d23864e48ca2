//! Trees nobody thought of: layers of random operations on few names, so that they meet.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::archive::{Item, TIME, archive};
use crate::umoci::{compare_archives, deviates};

/// Images that are compared. Each takes a tenth of a second.
const IMAGES: u32 = 96;

fn path() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..4).prop_map(|parts| parts.join("/"))
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
        4 => (path(), vec(any::<u8>(), 0..2000)).prop_map(|(path, content)| Item::file(path, content)),
        4 => path().prop_map(Item::dir),
        1 => (path(), target()).prop_map(|(path, target)| Item::symlink(path, target)),
        1 => (path(), path()).prop_map(|(path, target)| Item::hard_link(path, target)),
        2 => path().prop_map(|path| whiteout(&path)),
        1 => path().prop_map(|path| Item::file(format!("{path}/.wh..wh..opq"), "")),
        1 => path().prop_map(|path| Item::new(b'6', path)),
    ];
    let mode = prop_oneof![Just(0o755u32), Just(0o4711), Just(0o2750), Just(0o1777), Just(0o600), Just(0)];
    (kind, mode, 0u32..3, 0u32..3, 0i64..5)
        .prop_map(|(item, mode, uid, gid, later)| item.mode(mode).owner(uid, gid).mtime(TIME + later))
}

#[test]
fn random_layers_become_what_umoci_makes_of_them() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(Config { cases: IMAGES, failure_persistence: None, ..Config::default() });
    let layers = vec(vec(item(), 1..8), 1..4);
    let outcome = runner.run(&layers, |layers| {
        prop_assume!(!deviates(&layers));
        let archives: Vec<Vec<u8>> = layers.iter().map(archive).collect();
        runtime.block_on(compare_archives(&archives, &archives));
        Ok(())
    });
    outcome.unwrap();
}
