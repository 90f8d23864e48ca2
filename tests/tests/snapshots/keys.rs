//! The operator's keys.

use artifact::snapshot::Error;

use crate::yard::{Yard, key};

pub fn a_key_that_is_missing_or_another_is_named(yard: &Yard) {
    yard.store(&yard.open(), "one", &[Some(1)]);
    let error = yard.open_with(&key("second", 2)).unwrap_err();
    assert!(matches!(&error, Error::NoKey { key, .. } if key == "first"), "{error}");
    let error = yard.open_with(&key("first", 2)).unwrap_err();
    assert!(matches!(&error, Error::WrongKey { key, .. } if key == "first"), "{error}");
}

pub fn a_rotation_makes_the_old_key_unnecessary(yard: &Yard) {
    let (old, new) = (key("first", 1), key("second", 2));
    let first = yard.open();
    let before = yard.store(&first, "one", &[Some(1), Some(2)]).root;
    let both = yard.open_with(&[new.clone(), old.clone()].concat()).unwrap();
    assert!(yard.comes_back(&both, &before, "one").unwrap(), "it is readable while its key is in the ring");
    assert!(matches!(yard.open_with(&new), Err(Error::NoKey { .. })));
    let packs = yard.objects("packs");
    assert_eq!(both.rewrap().unwrap(), 1);
    assert_eq!(both.rewrap().unwrap(), 0, "all is well");
    assert_eq!(yard.objects("packs"), packs, "nothing large was touched");
    assert!(
        yard.objects("keys")
            .iter()
            .all(|name| String::from_utf8(yard.read(name)).unwrap().contains("second"))
    );
    let alone = yard.open_with(&new).unwrap();
    assert!(yard.comes_back(&alone, &before, "one").unwrap());
    // What is the same is known to be, and what is new is under a key that the old one never opened.
    let after = yard.store(&alone, "two", &[Some(2), Some(1), Some(3)]);
    assert_eq!(after.bytes_new, artifact::snapshot::CHUNK_BYTES as u64);
    assert!(matches!(yard.open_with(&old), Err(Error::NoKey { .. })));
    // A process that began before knows neither, and learns it from the store as far as its ring goes.
    assert!(yard.comes_back(&both, &after.root, "two").unwrap());
    assert!(matches!(first.fetch(&after.root, &yard.path("back")), Err(Error::NoKey { .. })));
}

pub fn nothing_stored_can_be_read_without_the_key(yard: &Yard) {
    let snapshots = yard.open();
    let text = b"a secret that a sandbox had in its memory";
    std::fs::create_dir_all(yard.path("one")).unwrap();
    std::fs::write(yard.path("one").join("secret-name.img"), text.repeat(100)).unwrap();
    let root = snapshots.store(&yard.path("one"), &crate::tree::facts("a secret note")).unwrap().root;
    let objects: Vec<_> = ["keys", "packs", "manifests"]
        .iter()
        .flat_map(|dir| yard.objects(dir))
        .map(|name| yard.read(&name))
        .collect();
    for secret in [&text[..16], b"secret-name", b"secret note", b"gvisor", b"sbx-"] {
        let shows = |bytes: &Vec<u8>| bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!objects.iter().any(shows), "{:?} is there to read", String::from_utf8_lossy(secret));
    }
    // Elsewhere the same has another name, so that a name tells nothing.
    let elsewhere = Yard::disk();
    let again = elsewhere.open().store(&yard.path("one"), &crate::tree::facts("a secret note")).unwrap().root;
    assert_ne!(root, again);
}

pub fn a_damaged_data_key_is_mended_from_its_copy(yard: &Yard) {
    let root = yard.store(&yard.open(), "one", &[Some(1)]).root;
    let names = yard.objects("keys");
    let whole = yard.read(&names[0]);
    assert_eq!(names.len(), 2);
    for name in &names {
        for damage in [b"".as_slice(), b"k1 first", &whole[..whole.len() - 2]] {
            yard.write(name, damage);
            assert!(yard.comes_back(&yard.open(), &root, "one").unwrap());
            assert_eq!(yard.read(name), whole);
        }
    }
    names.iter().for_each(|name| yard.write(name, &whole[1..]));
    let error = yard.open_with(&key("first", 1)).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}
