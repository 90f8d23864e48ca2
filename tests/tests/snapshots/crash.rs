//! A process that stores is killed, whenever.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use artifact::snapshot::Root;

use crate::tree::{self, facts};
use crate::yard::Yard;

/// Tells the test below to be the process that is killed, and where.
const CHILD: &str = "ATOLL_TEST_STORES_FOR_EVER";
/// How often one is killed.
const KILLS: u64 = 30;
/// How long one lives at most. Where it is between its steps then is for the disk and the others on it to say.
const LIFE_MS_MAX: u64 = 150;

/// The chunks of the directory that is stored at each turn.
fn chunks(turn: u64) -> Vec<Option<u64>> {
    (0..6).map(|seed| if seed == turn % 6 { None } else { Some(turn / 2 + seed) }).collect()
}

/// Not a test by itself: stores until it is killed, and says what it was told is stored.
#[test]
fn a_child_that_stores_for_ever() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let (dir, begin) = dir.split_once('@').expect("a directory and a number");
    let yard = Yard::at(dir.into());
    let snapshots = yard.open();
    println!("open");
    for turn in begin.parse::<u64>().unwrap().. {
        let name = format!("turn-{turn}");
        let root = yard.store(&snapshots, &name, &chunks(turn)).root;
        println!("stored {turn} {root}");
    }
}

#[test]
fn a_store_that_is_killed_leaves_whole_snapshots_and_nothing_else_that_counts() {
    let yard = Yard::disk();
    let mut acknowledged = BTreeMap::new();
    for round in 0..KILLS {
        let begin = round * 1000;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::a_child_that_stores_for_ever", "--nocapture", "--test-threads=1"])
            .env(CHILD, format!("{}@{begin}", yard.root().display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.ends_with("open")), "it does not begin");
        std::thread::sleep(Duration::from_millis(round * 37 % LIFE_MS_MAX));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            let words: Vec<_> = line.split(' ').collect();
            if let ["stored", turn, root] = words[..] {
                acknowledged.insert(root.parse::<Root>().unwrap(), turn.parse::<u64>().unwrap());
            }
        }
        check(&yard, &acknowledged);
    }
    let snapshots = yard.open();
    let listed: Vec<_> = snapshots.list().unwrap().iter().map(|entry| entry.root).collect();
    for dir in ["packs", "intents", "tmp"] {
        yard.age(dir, Duration::from_secs(25 * 60 * 60));
    }
    let collected = yard.collect(&snapshots, &listed, false);
    assert!(!collected.gone.is_empty() && collected.problems.is_empty(), "{collected:?}");
    assert_eq!([yard.objects("intents"), yard.objects("tmp"), yard.objects("doomed")].concat(), [""; 0]);
    check(&yard, &acknowledged);
    assert!(acknowledged.len() as u64 >= KILLS / 2, "hardly any was stored: {}", acknowledged.len());
}

/// What counts is whole, and what was acknowledged counts.
fn check(yard: &Yard, acknowledged: &BTreeMap<Root, u64>) {
    let snapshots = yard.open();
    let listed: Vec<_> = snapshots.list().unwrap().iter().map(|entry| entry.root).collect();
    for root in &listed {
        let note = snapshots.facts(root).unwrap().more["note"].as_str().unwrap().to_owned();
        let turn: u64 = note.strip_prefix("turn-").unwrap().parse().unwrap();
        tree::write(&yard.path(&note), &chunks(turn));
        assert_eq!(snapshots.facts(root).unwrap(), facts(&note));
        assert!(yard.comes_back(&snapshots, root, &note).unwrap(), "{note}");
    }
    let lost: Vec<_> = acknowledged.iter().filter(|(root, _)| !listed.contains(root)).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
}
