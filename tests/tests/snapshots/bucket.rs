//! A bucket whose service has bad days.

use artifact::snapshot::Error;
use testkit::s3::Fault;

use crate::tree::facts;
use crate::yard::Yard;

/// More than are tried.
const TOO_MANY: usize = 100;

#[test]
fn what_passes_is_tried_again() {
    let faults = [
        Fault::Status500,
        Fault::SlowDown,
        Fault::Break,
        Fault::BreakWhenDone,
        Fault::BreakAfter(10),
        Fault::Stall,
    ];
    let requests = [
        ("PUT", "packs/"),
        ("PUT", "manifests/"),
        ("PUT", "intents/"),
        ("GET", "manifests/"),
        ("GET", "packs/"),
        ("GET", "prefix=a%2Fprefix%2Fdoomed"),
        ("DELETE", "intents/"),
    ];
    let yard = Yard::bucket();
    let snapshots = yard.open();
    for (number, fault) in (0..).zip(faults) {
        // One that stalls costs a second each.
        let requests = if fault == Fault::Stall { &requests[3..5] } else { &requests[..] };
        for (method, part) in requests {
            yard.s3().fault(method, part, 2, fault);
        }
        let name = format!("{fault:?}");
        let root = yard.store(&snapshots, &name, &[Some(number), None, Some(100)]).root;
        assert!(yard.comes_back(&snapshots, &root, &name).unwrap(), "{name}");
    }
    assert_eq!(yard.objects("intents"), [""; 0]);
    assert_eq!(yard.s3().refusals(), [""; 0]);
}

#[test]
fn what_does_not_pass_is_told_within_bounds_and_nothing_counts() {
    let yard = Yard::bucket();
    let snapshots = yard.open();
    let kept = yard.store(&snapshots, "one", &[Some(1)]).root;
    for part in ["packs/", "intents/", "manifests/"] {
        yard.s3().fault("PUT", part, TOO_MANY, Fault::SlowDown);
        let before = yard.s3().count("PUT", part);
        let error = snapshots.store(&yard.path("one"), &facts(part)).map(drop);
        let error = if part == "packs/" {
            // All of it is known, so nothing is sent there.
            error.unwrap();
            crate::tree::write(&yard.path("two"), &[Some(2)]);
            snapshots.store(&yard.path("two"), &facts(part)).unwrap_err()
        } else {
            error.unwrap_err()
        };
        assert!(
            matches!(error, Error::Unreachable { .. }) && error.to_string().contains("SlowDown"),
            "{error}"
        );
        let tries = yard.s3().count("PUT", part) - before;
        assert!((2..20).contains(&tries), "{tries} tries of {part}");
        yard.s3().heal();
    }
    yard.s3().fault("GET", "packs/", TOO_MANY, Fault::Status500);
    let error = yard.comes_back(&snapshots, &kept, "one").unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    yard.s3().heal();
    assert!(yard.comes_back(&snapshots, &kept, "one").unwrap());
    // That with the facts of the first part is one, and the kept one.
    assert_eq!(snapshots.list().unwrap().len(), 2);
}

#[test]
fn on_a_bad_day_all_comes_back_all_the_same() {
    let yard = Yard::bucket();
    let snapshots = yard.open();
    yard.s3().shake(7, 4);
    for turn in 0..20 {
        let name = format!("turn-{turn}");
        let root = yard.store(&snapshots, &name, &[Some(turn), Some(turn + 1), Some(turn / 2)]).root;
        assert!(yard.comes_back(&snapshots, &root, &name).unwrap(), "{name}");
    }
    yard.s3().heal();
    assert_eq!(yard.open().list().unwrap().len(), 20);
}

#[test]
fn what_is_sent_once_is_not_sent_again() {
    let yard = Yard::bucket();
    let snapshots = yard.open();
    let seeds: Vec<_> = (0..100).map(Some).collect();
    let stored = yard.store(&snapshots, "one", &seeds);
    assert_eq!(yard.objects("packs").len(), 2, "25 MiB are two packs");
    let sent = yard.s3().count("PUT", "packs/");
    assert_eq!(sent, 2);
    yard.store(&snapshots, "two", &seeds);
    // Another node knows it too: of the newest snapshots, or because it fetched one.
    yard.store(&yard.open(), "three", &seeds);
    assert_eq!(yard.s3().count("PUT", "packs/"), sent);
    let before = yard.s3().count("GET", "packs/");
    assert!(yard.comes_back(&snapshots, &stored.root, "one").unwrap());
    let parts = yard.s3().count("GET", "packs/") - before;
    assert!(parts <= 10, "chunks beside each other are asked for at once, not in {parts} parts");
}

#[test]
fn credentials_that_are_not_good_are_told_and_new_ones_are_found() {
    let yard = Yard::bucket();
    let snapshots = yard.open();
    let root = yard.store(&snapshots, "one", &[Some(1)]).root;
    yard.s3().change_key("another");
    let error = snapshots.facts(&root).unwrap_err();
    assert!(
        matches!(error, Error::Refused { .. }) && error.to_string().contains("SignatureDoesNotMatch"),
        "{error}"
    );
    yard.s3().write_credentials("another");
    assert_eq!(snapshots.facts(&root).unwrap(), facts("one"));
}
