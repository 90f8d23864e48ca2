//! Whatever becomes of the bytes of a store: a reason, and never other bytes than were stored.

use artifact::snapshot::{Error, Root, Snapshots};

use crate::tree::facts;
use crate::yard::Yard;

/// A store with one snapshot.
fn stored(yard: &Yard) -> Root {
    yard.store(&yard.open(), "one", &[Some(1), None, Some(2)]).root
}

/// Positions of each kind in so many bytes: all at both ends, and others in between.
fn positions(length: usize) -> impl Iterator<Item = usize> {
    let between = (0..length).step_by((length / 97).max(1));
    (0..length.min(80)).chain(between).chain(length.saturating_sub(80)..length)
}

/// What an attempt at the snapshot says; none if it came back as it was.
fn refusal(yard: &Yard, snapshots: &Snapshots, root: &Root) -> Option<Error> {
    match yard.comes_back(snapshots, root, "one") {
        Ok(true) => None,
        Ok(false) => panic!("other bytes came back"),
        Err(error) => Some(error),
    }
}

/// Objects that a snapshot needs as they are: a damaged data key is mended.
fn needed(yard: &Yard) -> Vec<String> {
    [yard.objects("manifests"), yard.objects("packs")].concat()
}

pub fn no_flipped_bit_goes_unnoticed(yard: &Yard) {
    let root = stored(yard);
    let snapshots = yard.open();
    for name in needed(yard) {
        let whole = yard.read(&name);
        for (turn, at) in positions(whole.len()).enumerate() {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (turn % 8);
            yard.write(&name, &changed);
            let error = refusal(yard, &snapshots, &root).unwrap_or_else(|| panic!("byte {at} of {name}"));
            assert!(matches!(error, Error::Damaged { .. }), "byte {at} of {name}: {error:?}");
            let is_manifest = name.starts_with("manifests");
            assert_eq!(snapshots.facts(&root).is_err(), is_manifest, "byte {at} of {name}");
        }
        yard.write(&name, &whole);
        assert!(refusal(yard, &snapshots, &root).is_none());
    }
}

pub fn nothing_that_was_cut_short_goes_unnoticed(yard: &Yard) {
    let root = stored(yard);
    let snapshots = yard.open();
    for name in needed(yard) {
        let whole = yard.read(&name);
        for length in positions(whole.len()) {
            yard.write(&name, &whole[..length]);
            let error =
                refusal(yard, &snapshots, &root).unwrap_or_else(|| panic!("{length} bytes of {name}"));
            assert!(matches!(error, Error::Damaged { .. }), "{length} bytes of {name}: {error:?}");
        }
        // More than there should be is refused where it could mean something.
        yard.write(&name, &[whole.as_slice(), b"more"].concat());
        assert_eq!(refusal(yard, &snapshots, &root).is_some(), name.starts_with("manifests"), "{name}");
        yard.write(&name, &whole);
    }
}

pub fn what_is_missing_is_named(yard: &Yard) {
    let root = stored(yard);
    let snapshots = yard.open();
    let [pack] = &yard.objects("packs")[..] else { panic!("one store has one pack") };
    let whole = yard.read(pack);
    yard.delete(pack);
    let error = refusal(yard, &snapshots, &root).expect("its chunks are gone");
    assert!(matches!(error, Error::Missing { .. }) && error.to_string().contains(pack), "{error}");
    assert_eq!(snapshots.facts(&root).unwrap(), facts("one"));
    yard.write(pack, &whole);
    assert!(refusal(yard, &snapshots, &root).is_none());
    yard.objects("keys").iter().for_each(|key| yard.delete(key));
    let error = yard.open_with(&crate::yard::key("first", 1)).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }) && error.to_string().contains("data key"), "{error}");
    yard.objects("manifests").iter().for_each(|manifest| yard.delete(manifest));
    assert!(matches!(refusal(yard, &snapshots, &root), Some(Error::NotFound { .. })));
}

pub fn one_is_not_taken_for_another(yard: &Yard) {
    let snapshots = yard.open();
    let one = yard.store(&snapshots, "one", &[Some(1)]).root;
    let two = yard.store(&snapshots, "two", &[Some(2)]).root;
    let name = |root: &Root| format!("manifests/{root}");
    yard.write(&name(&one), &yard.read(&name(&two)));
    let error = refusal(yard, &snapshots, &one).expect("it is another");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let [first, second] = &yard.objects("packs")[..] else { panic!("two stores have two packs") };
    yard.write(first, &yard.read(second));
    let errors = [("one", one), ("two", two)].map(|(name, root)| yard.comes_back(&snapshots, &root, name));
    assert!(errors.iter().any(|result| matches!(result, Err(Error::Damaged { .. }))), "{errors:?}");
}

pub fn a_store_that_is_gone_says_so(yard: &Yard) {
    let root = stored(yard);
    let snapshots = yard.open();
    yard.lose();
    let errors = [
        snapshots.facts(&root).map(drop),
        snapshots.fetch(&root, &yard.path("back")),
        snapshots.list().map(drop),
        snapshots.store(&yard.path("one"), &facts("two")).map(drop),
    ];
    for error in errors {
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    }
}
