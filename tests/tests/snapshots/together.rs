//! Several stores and fetches at once.

use std::thread;

use artifact::snapshot::CHUNK_BYTES;

use crate::tree::{self, facts};
use crate::yard::Yard;

pub fn one_chunk_of_many_stores_is_stored_once(yard: &Yard) {
    let snapshots = yard.open();
    let names: Vec<_> = (0..6).map(|number| format!("same-{number}")).collect();
    for name in &names {
        tree::write(&yard.path(name), &(0..24).map(Some).collect::<Vec<_>>());
    }
    let store = |name: &String| snapshots.store(&yard.path(name), &facts(name)).unwrap();
    let stored: Vec<_> = thread::scope(|scope| {
        let stores: Vec<_> = names.iter().map(|name| scope.spawn(move || store(name))).collect();
        stores.into_iter().map(|store| store.join().unwrap()).collect()
    });
    let new: u64 = stored.iter().map(|stored| stored.bytes_new).sum();
    assert_eq!(new, 24 * CHUNK_BYTES as u64 + 65_000);
    for (name, stored) in names.iter().zip(&stored) {
        assert!(yard.comes_back(&snapshots, &stored.root, name).unwrap());
    }
}

pub fn stores_and_fetches_at_once_do_not_meet(yard: &Yard) {
    let snapshots = yard.open();
    thread::scope(|scope| {
        for number in 0..4_u64 {
            let snapshots = &snapshots;
            scope.spawn(move || {
                for turn in 0..3 {
                    let name = format!("{number}-{turn}");
                    let seeds: Vec<_> = (0..8).map(|seed| Some(number * turn + seed)).collect();
                    let stored = yard.store(snapshots, &name, &seeds);
                    assert!(yard.comes_back(snapshots, &stored.root, &name).unwrap());
                }
            });
        }
    });
    assert_eq!(snapshots.list().unwrap().len(), 12);
}
