//! Directories that are watched.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use wire::guest::frame::Body;
use wire::guest::watch::{Change, QUEUE_BYTES_MAX, WATCHES_MAX, Watch};
use wire::guest::{Done, Error, ErrorCode, Head, Outcome, Request};

use crate::harness::{Agent, Client, claim_for_ordinary_user, eventually};

/// A watch, as its listener sees it.
struct Watching {
    stream: u32,
    bytes: Vec<u8>,
}

/// What a listener hears next.
#[derive(Debug, PartialEq)]
enum Heard {
    Change(Change),
    End(Outcome),
}

impl Watching {
    fn open(client: &mut Client, watch: Watch) -> Result<Self, Error> {
        let stream = client.open(&Request::Watch(watch));
        match client.next(stream) {
            Body::Head(json) => assert_eq!(serde_json::from_slice::<Head>(&json).unwrap(), Head::Watching),
            Body::End(json) => {
                return Err(serde_json::from_slice::<Outcome>(&json).unwrap().unwrap_err());
            }
            other => panic!("neither a head nor an end: {other:?}"),
        }
        Ok(Self { stream, bytes: Vec::new() })
    }

    fn next(&mut self, client: &mut Client) -> Heard {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                return Heard::Change(serde_json::from_slice(&line).unwrap());
            }
            match client.next(self.stream) {
                Body::Data(_, bytes) => {
                    self.bytes.extend_from_slice(&bytes);
                    client.send(self.stream, Body::Credit(bytes.len() as u32));
                }
                Body::End(json) => return Heard::End(serde_json::from_slice(&json).unwrap()),
                other => panic!("not of a watch: {other:?}"),
            }
        }
    }

    /// Everything up to now: to the creation of a file that this makes, and deletes again.
    fn until_now(&mut self, agent: &Agent, client: &mut Client) -> Vec<Change> {
        let mark = at("mark");
        fs::write(agent.outside(&mark), "").unwrap();
        let mut heard = Vec::new();
        loop {
            match self.next(client) {
                Heard::Change(Change::Created { path, .. }) if path == mark => break,
                Heard::Change(change) => heard.push(change),
                Heard::End(end) => panic!("the watch ended: {end:?}"),
            }
        }
        fs::remove_file(agent.outside(&mark)).unwrap();
        while self.next(client) != Heard::Change(Change::Deleted { path: mark.clone(), is_dir: false }) {}
        heard
    }
}

fn watch(path: &str, recursive: bool, exclude: &[&str]) -> Watch {
    let exclude = exclude.iter().map(|text| (*text).to_owned()).collect();
    Watch { path: path.into(), recursive, exclude }
}

/// An agent of an ordinary user, with a directory to watch.
fn prepared() -> (Agent, Client) {
    let (agent, client) = Agent::claimed_with(claim_for_ordinary_user());
    fs::create_dir(agent.outside("/work/watched")).unwrap();
    (agent, client)
}

/// One that watches it.
fn watched(recursive: bool, exclude: &[&str]) -> (Agent, Client, Watching) {
    let (agent, mut client) = prepared();
    let watching = Watching::open(&mut client, watch("watched", recursive, exclude)).unwrap();
    (agent, client, watching)
}

fn at(name: &str) -> String {
    format!("/work/watched/{name}")
}

fn created(name: &str, is_dir: bool) -> Change {
    Change::Created { path: at(name), is_dir }
}

fn deleted(name: &str, is_dir: bool) -> Change {
    Change::Deleted { path: at(name), is_dir }
}

fn moved(from: &str, to: &str, is_dir: bool) -> Change {
    Change::Moved { from: at(from), to: at(to), is_dir }
}

#[test]
fn what_happens_to_a_file_is_told_in_order() {
    let (agent, mut client, mut watching) = watched(false, &[]);
    let file = agent.outside(&at("a"));
    fs::write(&file, "content").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&file, agent.outside(&at("b"))).unwrap();
    fs::remove_file(agent.outside(&at("b"))).unwrap();
    let heard = watching.until_now(&agent, &mut client);
    let expect = [
        created("a", false),
        Change::Modified { path: at("a") },
        Change::Written { path: at("a") },
        Change::Attributes { path: at("a"), is_dir: false },
        moved("a", "b", false),
        deleted("b", false),
    ];
    assert_eq!(heard, expect);
}

#[test]
fn only_a_recursive_watch_hears_what_is_deeper() {
    for recursive in [false, true] {
        let (agent, mut client) = prepared();
        fs::create_dir_all(agent.outside(&at("a/b"))).unwrap();
        let mut watching = Watching::open(&mut client, watch("watched", recursive, &[])).unwrap();
        fs::create_dir(agent.outside(&at("a/b/c"))).unwrap();
        let heard = watching.until_now(&agent, &mut client);
        assert_eq!(heard.contains(&created("a/b/c", true)), recursive, "{heard:?}");
    }
}

#[test]
fn what_is_in_new_directories_is_told_once() {
    let (agent, mut client, mut watching) = watched(true, &[]);
    // As fast as it goes: some is there before its directory is watched, and some comes after.
    let mut expect = BTreeSet::new();
    for tree in 0..20 {
        for depth in 1..8 {
            let directory = (0..depth).fold(format!("{tree}"), |path, level| format!("{path}/{level}"));
            fs::create_dir_all(agent.outside(&at(&directory))).unwrap();
            let file = format!("{directory}/file");
            fs::write(agent.outside(&at(&file)), "").unwrap();
            expect.extend([at(&directory), at(&file)]);
        }
        expect.insert(at(&format!("{tree}")));
    }
    let mut heard = watching.until_now(&agent, &mut client);
    heard.retain(|change| matches!(change, Change::Created { .. }));
    let paths: Vec<String> = heard
        .into_iter()
        .map(|change| match change {
            Change::Created { path, .. } => path,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(paths.iter().cloned().collect::<BTreeSet<_>>(), expect);
    assert_eq!(paths.len(), expect.len(), "something was told twice: {paths:?}");
}

#[test]
fn a_directory_that_moves_is_heard_under_its_new_name() {
    let (agent, mut client) = prepared();
    fs::create_dir_all(agent.outside(&at("a/deep"))).unwrap();
    fs::create_dir(agent.outside(&at("b"))).unwrap();
    let mut watching = Watching::open(&mut client, watch("watched", true, &[])).unwrap();
    let rename = |from: &str, to: &str| fs::rename(agent.outside(from), agent.outside(to)).unwrap();
    let touch = |name: &str| drop(fs::File::create_new(agent.outside(name)).unwrap());
    rename(&at("a"), &at("b/c"));
    touch(&at("b/c/deep/x"));
    let heard = watching.until_now(&agent, &mut client);
    assert_eq!(heard[..2], [moved("a", "b/c", true), created("b/c/deep/x", false)], "{heard:?}");
    // Out of the watch, where nothing is heard of it any more, and in again.
    rename(&at("b/c"), "/work/outside");
    assert_eq!(watching.next(&mut client), Heard::Change(deleted("b/c", true)));
    touch("/work/outside/deep/y");
    rename("/work/outside", &at("d"));
    let heard = watching.until_now(&agent, &mut client);
    let paths = ["d", "d/deep", "d/deep/x", "d/deep/y"].map(|name| created(name, name.len() < 7));
    assert_eq!(heard.iter().filter(|change| paths.contains(change)).count(), 4, "{heard:?}");
    assert_eq!(heard.len(), 4, "{heard:?}");
}

#[test]
fn directories_that_take_each_others_place_ask_for_a_rescan() {
    let (agent, mut client) = prepared();
    fs::create_dir_all(agent.outside(&at("a/of-a"))).unwrap();
    fs::create_dir_all(agent.outside(&at("b/of-b"))).unwrap();
    let mut watching = Watching::open(&mut client, watch("watched", true, &[])).unwrap();
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    let (here, there) = (agent.outside(&at("a")), agent.outside(&at("b")));
    rustix::fs::renameat_with(rustix::fs::CWD, &here, rustix::fs::CWD, &there, flags).unwrap();
    assert!(watching.until_now(&agent, &mut client).contains(&Change::Rescan));
    fs::create_dir(agent.outside(&at("a/of-b/x"))).unwrap();
    let heard = watching.until_now(&agent, &mut client);
    assert!(heard.contains(&created("a/of-b/x", true)), "{heard:?}");
}

#[test]
fn what_is_left_out_is_not_heard_of() {
    let (agent, mut client) = prepared();
    fs::create_dir_all(agent.outside(&at("node_modules/x"))).unwrap();
    let mut watching = Watching::open(&mut client, watch("watched", true, &["node_modules", "*.o"])).unwrap();
    for name in ["node_modules/x/y", "a.o", "a.c"] {
        fs::write(agent.outside(&at(name)), "").unwrap();
    }
    // In and out of what is left out.
    fs::rename(agent.outside(&at("a.o")), agent.outside(&at("b"))).unwrap();
    fs::rename(agent.outside(&at("a.c")), agent.outside(&at("c.o"))).unwrap();
    let mut heard = watching.until_now(&agent, &mut client);
    heard.retain(|change| !matches!(change, Change::Written { .. }));
    assert_eq!(heard, [created("a.c", false), created("b", false), deleted("a.c", false)]);
}

#[test]
fn a_watch_ends_with_its_directory() {
    let (agent, mut client, mut watching) = watched(true, &[]);
    fs::write(agent.outside(&at("last")), "").unwrap();
    fs::remove_dir_all(agent.outside("/work/watched")).unwrap();
    let mut heard = Vec::new();
    let end = loop {
        match watching.next(&mut client) {
            Heard::Change(change) => heard.push(change),
            Heard::End(end) => break end,
        }
    };
    assert_eq!(end, Ok(Done::Nothing));
    assert!(heard.contains(&created("last", false)) && heard.contains(&deleted("last", false)), "{heard:?}");
    // Moved is gone too: what is at its path then is another one.
    fs::create_dir(agent.outside("/work/watched")).unwrap();
    let mut watching = Watching::open(&mut client, watch("watched", true, &[])).unwrap();
    fs::rename(agent.outside("/work/watched"), agent.outside("/work/elsewhere")).unwrap();
    assert_eq!(watching.next(&mut client), Heard::End(Ok(Done::Nothing)));
}

#[test]
fn a_listener_that_stalls_is_told_to_look_again() {
    let (agent, mut client, mut watching) = watched(true, &[]);
    let mut other = agent.reconnect();
    let mut quick = Watching::open(&mut other, watch("watched", true, &[])).unwrap();
    let name = |number: usize| format!("{number:06}-{}", "x".repeat(200));
    // More than what is granted at first and what is kept, together.
    let files = 2 * (QUEUE_BYTES_MAX + 256 * 1024) / 200;
    let mut heard = 0;
    for number in 0..files {
        drop(fs::File::create_new(agent.outside(&at(&name(number)))).unwrap());
        if number % 100 == 99 {
            // This one takes everything: it loses nothing.
            while heard <= number {
                match quick.next(&mut other) {
                    Heard::Change(Change::Created { path, .. }) => {
                        assert_eq!(path, at(&name(heard)));
                        heard += 1;
                    }
                    Heard::Change(Change::Written { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    let mut told = 0;
    loop {
        match watching.next(&mut client) {
            Heard::Change(Change::Created { path, .. }) => {
                assert_eq!(path, at(&name(told)));
                told += 1;
            }
            Heard::Change(Change::Written { .. }) => {}
            Heard::Change(Change::Rescan) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(told < files, "nothing was lost");
    let heard = watching.until_now(&agent, &mut client);
    assert_eq!(heard, [], "after the rescan all is told again");
}

#[test]
fn what_cannot_be_watched_is_told_before_anything_else() {
    let (agent, mut client) = prepared();
    fs::write(agent.outside("/work/file"), "").unwrap();
    fs::create_dir(agent.outside("/work/closed")).unwrap();
    fs::set_permissions(agent.outside("/work/closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let mut code = |path: &str, exclude: &[&str]| {
        Watching::open(&mut client, watch(path, true, exclude)).err().unwrap().code
    };
    assert_eq!(code("none", &[]), ErrorCode::NotFound);
    assert_eq!(code("file", &[]), ErrorCode::NotADirectory);
    assert_eq!(code("closed", &[]), ErrorCode::PermissionDenied);
    assert_eq!(code("watched", &["["]), ErrorCode::Invalid);
    fs::set_permissions(agent.outside("/work/closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_directory_that_is_opened_up_is_entered() {
    let (agent, mut client) = prepared();
    let closed = agent.outside(&at("closed"));
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let mut watching = Watching::open(&mut client, watch("watched", true, &[])).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o777)).unwrap();
    let heard = watching.until_now(&agent, &mut client);
    assert_eq!(heard, [Change::Attributes { path: at("closed"), is_dir: true }]);
    fs::create_dir(closed.join("x")).unwrap();
    assert_eq!(watching.until_now(&agent, &mut client), [created("closed/x", true)]);
}

#[test]
fn no_link_is_followed_but_the_one_that_is_asked_for() {
    let (agent, mut client) = prepared();
    let outside = agent.outside("/").parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, agent.outside(&at("out"))).unwrap();
    symlink("watched", agent.outside("/work/link")).unwrap();
    let mut watching = Watching::open(&mut client, watch("link", true, &[])).unwrap();
    symlink(&outside, agent.outside(&at("new"))).unwrap();
    fs::write(outside.join("secret"), "").unwrap();
    fs::create_dir(agent.outside(&at("inside"))).unwrap();
    let told =
        |name: &str, is_dir| Heard::Change(Change::Created { path: format!("/work/link/{name}"), is_dir });
    assert_eq!(watching.next(&mut client), told("new", false));
    assert_eq!(watching.next(&mut client), told("inside", true));
    let escape = Watching::open(&mut client, watch("watched/out", true, &[]));
    assert_eq!(escape.err().unwrap().code, ErrorCode::NotFound);
}

#[test]
fn watches_are_bounded_and_given_back() {
    let (agent, mut client) = prepared();
    fs::create_dir_all(agent.outside(&at("a/b"))).unwrap();
    let all: Vec<_> =
        (0..WATCHES_MAX).map(|_| Watching::open(&mut client, watch("watched", true, &[])).unwrap()).collect();
    let refused = Watching::open(&mut client, watch("watched", true, &[])).err().unwrap();
    assert!(refused.code == ErrorCode::TooMany && refused.message.contains("32 watches"), "{refused}");
    for watching in &all {
        client.send(watching.stream, Body::Cancel);
        assert!(matches!(client.next(watching.stream), Body::End(_)));
    }
    let threads = || fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap().count();
    let before = threads();
    let mut last = None;
    eventually("a watch is given back", || {
        last = Watching::open(&mut client, watch("watched", true, &[])).ok();
        last.is_some()
    });
    // A connection that breaks is a listener that leaves.
    drop(client);
    eventually("the thread of the last watch is gone", || threads() < before.max(2));
}

#[test]
fn a_tree_that_is_too_deep_ends_the_watch_by_name() {
    let (agent, mut client, mut watching) = watched(true, &[]);
    let mut at =
        rustix::fs::open(agent.outside("/work/watched"), rustix::fs::OFlags::PATH, 0.into()).unwrap();
    for _ in 0..300 {
        rustix::fs::mkdirat(&at, "d", 0o755.into()).unwrap();
        at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::PATH, 0.into()).unwrap();
    }
    let end = loop {
        if let Heard::End(end) = watching.next(&mut client) {
            break end;
        }
    };
    let error = end.unwrap_err();
    assert!(error.code == ErrorCode::TooLarge && error.message.contains("256 levels"), "{error}");
}
