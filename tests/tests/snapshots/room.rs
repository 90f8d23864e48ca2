//! A disk without room.

use artifact::snapshot::Error;
use tests::faults::Disk;

use crate::tree::{self, facts};
use crate::yard::Yard;

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let disk = Disk::new(48);
    let yard = Yard::at(disk.path());
    let snapshots = yard.open();
    let kept = yard.store(&snapshots, "one", &[Some(1), Some(2)]).root;
    let seeds: Vec<_> = (10..40).map(Some).collect();
    tree::write(&yard.path("large"), &seeds);
    let packs = yard.objects("packs");
    let filler = disk.fill();
    for _ in 0..3 {
        let error = snapshots.store(&yard.path("large"), &facts("large")).unwrap_err();
        assert!(error.is_full() && error.to_string().contains("make room"), "{error}");
    }
    assert_eq!(snapshots.list().unwrap().len(), 1);
    assert_eq!((yard.objects("packs"), yard.objects("intents")), (packs, vec![]));
    assert_eq!(snapshots.facts(&kept).unwrap(), facts("one"));
    drop(filler);
    assert!(yard.comes_back(&snapshots, &kept, "one").unwrap());
    let stored = snapshots.store(&yard.path("large"), &facts("large")).unwrap();
    assert!(yard.comes_back(&snapshots, &stored.root, "large").unwrap());
    // There is not enough for what comes back either.
    let _filler = disk.fill();
    let back = yard.path("back");
    let error = snapshots.fetch(&stored.root, &back).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(std::fs::read_dir(&back).map_or(0, Iterator::count), 0, "what was begun is gone");
}
