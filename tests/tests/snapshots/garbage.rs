//! What nobody needs goes, and nothing else, whoever stores meanwhile.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use artifact::snapshot::{AGE_MIN, CHUNK_BYTES, Collect, GoneKind};

use crate::yard::Yard;

const LONG_AGO: Duration = Duration::from_secs(25 * 60 * 60);
/// Turns of storing beside a collection.
const TURNS: u64 = 25;

pub fn what_nobody_needs_goes_and_a_dry_run_says_so_first(yard: &Yard) {
    let snapshots = yard.open();
    let first = yard.store(&snapshots, "one", &[Some(1), Some(2)]).root;
    let second = yard.store(&snapshots, "two", &[Some(2), Some(3)]).root;
    let third = yard.store(&snapshots, "three", &[Some(4), Some(5)]).root;
    yard.age("manifests", LONG_AGO);
    yard.age("packs", LONG_AGO);
    let objects = || [yard.objects("manifests"), yard.objects("packs")].concat();
    let before = objects();
    // The first one's pack has a chunk of the second.
    let dry = yard.collect(&snapshots, &[second], true);
    assert_eq!(objects(), before);
    let went = yard.collect(&snapshots, &[second], false);
    assert_eq!(went, dry);
    let kinds: Vec<_> = went.gone.iter().map(|gone| gone.kind).collect();
    assert_eq!(kinds, [GoneKind::Snapshot, GoneKind::Snapshot, GoneKind::Pack], "{went:?}");
    assert!(went.gone.iter().all(|gone| gone.reason.contains("25 h")), "{went:?}");
    assert!(went.bytes > 2 * CHUNK_BYTES as u64 && went.bytes_held > CHUNK_BYTES as u64, "{went:?}");
    assert_eq!(objects().len(), before.len() - 3);
    assert!(yard.comes_back(&snapshots, &second, "two").unwrap());
    assert_eq!(yard.objects("doomed"), [""; 0]);
    assert!(snapshots.facts(&first).is_err() && snapshots.facts(&third).is_err());
    // What went is stored again when it is needed again.
    let again = yard.store(&snapshots, "again", &[Some(4), Some(2)]);
    assert_eq!(again.bytes_new, CHUNK_BYTES as u64);
    assert!(yard.comes_back(&snapshots, &again.root, "again").unwrap());
}

pub fn what_is_new_stays(yard: &Yard) {
    let snapshots = yard.open();
    let root = yard.store(&snapshots, "one", &[Some(1)]).root;
    // Nobody counts on it yet: who stored it has had no time to say so.
    assert_eq!(yard.collect(&snapshots, &[], false).gone, []);
    snapshots.remove(&root).unwrap();
    let collected = yard.collect(&snapshots, &[], false);
    assert!(collected.gone.is_empty() && collected.bytes_held > 0, "{collected:?}");
    yard.age("packs", LONG_AGO);
    assert_eq!(yard.collect(&snapshots, &[], false).gone.len(), 1);
}

pub fn a_store_does_not_count_on_what_is_doomed(yard: &Yard) {
    let snapshots = yard.open();
    yard.store(&snapshots, "one", &[Some(1)]);
    let [pack] = &yard.objects("packs")[..] else { panic!("one store has one pack") };
    yard.write(&pack.replace("packs", "doomed"), b"");
    let second = yard.store(&snapshots, "two", &[Some(1), Some(2)]);
    assert!(second.bytes_new > 2 * CHUNK_BYTES as u64, "it counts on what is about to go: {second:?}");
    yard.delete(pack);
    assert!(yard.comes_back(&snapshots, &second.root, "two").unwrap());
    // The same if it has gone without a word.
    let pack = yard.objects("packs").into_iter().max_by_key(|name| yard.read(name).len()).unwrap();
    yard.delete(&pack);
    let fourth = yard.store(&snapshots, "four", &[Some(1), Some(2)]);
    assert!(fourth.bytes_new > 0 && yard.comes_back(&snapshots, &fourth.root, "four").unwrap());
    // A collection that was interrupted is done by the next.
    yard.collect(&snapshots, &[], false);
    assert_eq!(yard.objects("doomed"), [""; 0]);
}

/// Says that it is over, however it ends.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub fn a_collection_beside_stores_takes_nothing_they_count_on(yard: &Yard) {
    let (is_over, collector) = (AtomicBool::new(false), yard.open());
    let went = thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            let (live, mut went) = (BTreeSet::new(), 0);
            while !is_over.load(Ordering::Relaxed) {
                let how = Collect { live: &live, age_min: AGE_MIN, dry_run: false };
                went += collector.collect(&how).unwrap().gone.len();
            }
            went
        });
        // Another node, which knows of no collection.
        let snapshots = yard.open();
        let end = End(&is_over);
        for turn in 0..TURNS {
            let name = format!("turn-{turn}");
            yard.age("packs", LONG_AGO);
            let root = yard.store(&snapshots, &name, &[Some(turn / 5), Some(turn / 7), Some(turn)]).root;
            assert!(yard.comes_back(&snapshots, &root, &name).unwrap(), "{name}");
            snapshots.remove(&root).unwrap();
        }
        drop(end);
        collecting.join().unwrap()
    });
    assert!(went > 0, "nothing was collected");
}

pub fn what_a_damaged_snapshot_may_need_stays(yard: &Yard) {
    let snapshots = yard.open();
    let live = yard.store(&snapshots, "one", &[Some(1)]).root;
    yard.store(&snapshots, "two", &[Some(2)]);
    let name = format!("manifests/{live}");
    let whole = yard.read(&name);
    yard.write(&name, &whole[1..]);
    yard.age("manifests", LONG_AGO);
    yard.age("packs", LONG_AGO);
    let went = yard.collect(&snapshots, &[live], false);
    assert_eq!(went.gone.iter().map(|gone| gone.kind).collect::<Vec<_>>(), [GoneKind::Snapshot]);
    assert!(went.problems.len() == 1 && went.problems[0].contains(&live.to_string()), "{went:?}");
    yard.write(&name, &whole);
    assert!(yard.comes_back(&snapshots, &live, "one").unwrap());
    let went = yard.collect(&snapshots, &[live], false);
    assert_eq!((went.gone.len(), went.problems.len()), (1, 0));
}

pub fn what_was_given_up_goes(yard: &Yard) {
    let snapshots = yard.open();
    let live = yard.store(&snapshots, "one", &[Some(1)]).root;
    let intent = format!("intents/{live}");
    yard.write(&intent, &yard.read(&format!("manifests/{live}")));
    yard.write(&format!("packs/{}-0", "ab".repeat(16)), b"chunks");
    snapshots.remove(&live).unwrap();
    yard.age("packs", LONG_AGO);
    // A store that is about to be done counts on its packs.
    let went = yard.collect(&snapshots, &[], false);
    assert_eq!(went.gone.iter().map(|gone| gone.bytes).collect::<Vec<_>>(), [6], "{went:?}");
    yard.age("intents", LONG_AGO);
    let kinds: Vec<_> = yard.collect(&snapshots, &[], false).gone.iter().map(|gone| gone.kind).collect();
    assert_eq!(kinds, [GoneKind::Intent, GoneKind::Pack]);
    assert_eq!([yard.objects("packs"), yard.objects("intents")].concat(), [""; 0]);
}

pub fn what_is_mostly_garbage_is_written_anew(yard: &Yard) {
    let snapshots = yard.open();
    let seeds: Vec<_> = (0..10).map(Some).collect();
    let first = yard.store(&snapshots, "one", &seeds).root;
    let second = yard.store(&snapshots, "two", &[Some(0), Some(3), None, Some(20)]).root;
    let packs = yard.objects("packs");
    snapshots.remove(&first).unwrap();
    yard.age("packs", LONG_AGO);
    let dry = yard.collect(&snapshots, &[second], true);
    assert!(dry.gone.is_empty() && dry.bytes_held > 7 * CHUNK_BYTES as u64, "{dry:?}");
    let other = yard.open();
    let went = yard.collect(&snapshots, &[second], false);
    assert!(went.bytes > 9 * CHUNK_BYTES as u64 && went.bytes_held < 1000, "{went:?}");
    assert_eq!(yard.objects("packs").len(), packs.len());
    // Who knew where they were finds them where they are.
    for snapshots in [snapshots, other, yard.open()] {
        assert!(yard.comes_back(&snapshots, &second, "two").unwrap());
        assert_eq!(yard.store(&snapshots, "three", &[Some(3), Some(0)]).bytes_new, 0);
    }
}
