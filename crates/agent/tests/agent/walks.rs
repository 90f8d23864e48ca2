//! Walks over trees.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde::de::DeserializeOwned;
use wire::guest::file::{FileInfo, Match, Node, Walk};
use wire::guest::{Done, Error, ErrorCode, Request};

use crate::harness::{Agent, Client, claim_for_ordinary_user};

fn found<T: DeserializeOwned>(client: &mut Client, walk: Walk) -> Result<Vec<T>, Error> {
    let stream = client.open(&Request::Walk(walk));
    let (_, stdout, _, outcome) = client.collect(stream);
    let lines = stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let found: Vec<T> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    match outcome? {
        Done::Walked { items } => assert_eq!(items, found.len() as u64),
        other => panic!("no end of a walk: {other:?}"),
    }
    Ok(found)
}

fn texts(exclude: &[&str]) -> Vec<String> {
    exclude.iter().map(|text| (*text).to_owned()).collect()
}

fn list(client: &mut Client, path: &str, recursive: bool, exclude: &[&str]) -> Result<Vec<String>, Error> {
    let walk = Walk::List { path: path.into(), recursive, exclude: texts(exclude) };
    Ok(found::<FileInfo>(client, walk)?.into_iter().map(|info| info.path).collect())
}

fn glob(client: &mut Client, path: &str, pattern: &str, exclude: &[&str]) -> Result<Vec<String>, Error> {
    found(client, Walk::Glob { path: path.into(), pattern: pattern.into(), exclude: texts(exclude) })
}

fn grep(
    client: &mut Client,
    path: &str,
    pattern: &str,
    include: Option<&str>,
) -> Result<Vec<(String, u64)>, Error> {
    let include = include.map(str::to_owned);
    let walk = Walk::Grep { path: path.into(), pattern: pattern.into(), include, exclude: Vec::new() };
    Ok(found::<Match>(client, walk)?.into_iter().map(|found| (found.path, found.line)).collect())
}

fn tree(client: &mut Client, path: &str, max_depth: Option<u32>) -> Result<Vec<(u32, String, bool)>, Error> {
    let walk = Walk::Tree { path: path.into(), max_depth, exclude: Vec::new() };
    Ok(found::<Node>(client, walk)?.into_iter().map(|node| (node.depth, node.name, node.is_dir)).collect())
}

/// An agent with a small project, and things in it that no walk should stumble over.
fn project() -> (Agent, Client) {
    let (agent, client) = Agent::claimed_with(claim_for_ordinary_user());
    for (path, content) in [
        ("src/main.py", "import os\nneedle = 1\n"),
        ("src/deep/util.py", "x\r\nneedle\r\n"),
        ("src/deep/data.bin", "needle\0"),
        (".git/config", "needle"),
        ("node_modules/x/index.js", "needle"),
        ("readme.md", "no"),
    ] {
        let path = agent.outside("/work/project").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let at = |name: &str| agent.outside("/work/project").join(name);
    symlink("..", at("src/up")).unwrap();
    symlink("main.py", at("src/link.py")).unwrap();
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at("src/pipe.py"), kind, 0o666.into(), 0).unwrap();
    (agent, client)
}

#[test]
fn a_directory_is_listed_by_name_and_a_file_as_itself() {
    let (_agent, mut client) = project();
    let listed = list(&mut client, "project", false, &[]).unwrap();
    assert_eq!(
        listed,
        ["/work/project/.git", "/work/project/node_modules", "/work/project/readme.md", "/work/project/src"]
    );
    assert_eq!(list(&mut client, "project/readme.md", false, &[]).unwrap(), ["/work/project/readme.md"]);
    assert_eq!(
        list(&mut client, "project/src/..", false, &["src", ".*", "node*"]).unwrap(),
        ["/work/project/readme.md"]
    );
    let all = list(&mut client, "project", true, &["node_modules", ".git"]).unwrap();
    let below: Vec<_> = all.iter().map(|path| path.strip_prefix("/work/project/").unwrap()).collect();
    let expect = [
        "readme.md",
        "src",
        "src/deep",
        "src/deep/data.bin",
        "src/deep/util.py",
        "src/link.py",
        "src/main.py",
        "src/pipe.py",
        "src/up",
    ];
    assert_eq!(below, expect, "directories come before what is in them, links are not followed");
    assert_eq!(list(&mut client, "gone", false, &[]).unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(
        list(&mut client, "project/readme.md/x", false, &[]).unwrap_err().code,
        ErrorCode::NotADirectory
    );
    assert_eq!(list(&mut client, "project", false, &["["]).unwrap_err().code, ErrorCode::Invalid);
}

#[test]
fn what_may_not_be_entered_is_left_out() {
    let (agent, mut client) = project();
    let closed = agent.outside("/work/project/src/deep");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Theirs is root; the claim's user is another.
        assert_eq!(
            list(&mut client, "project/src/deep", false, &[]).unwrap_err().code,
            ErrorCode::PermissionDenied
        );
        assert!(
            list(&mut client, "project/src", true, &[])
                .unwrap()
                .contains(&"/work/project/src/deep".to_owned())
        );
        assert_eq!(
            grep(&mut client, "project/src", "needle", None).unwrap(),
            [("/work/project/src/main.py".into(), 2)]
        );
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn names_are_found_by_patterns() {
    let (_agent, mut client) = project();
    let mut check = |pattern: &str, exclude: &[&str], expect: &[&str]| {
        let paths = glob(&mut client, "project", pattern, exclude).unwrap();
        let below: Vec<_> = paths.iter().map(|path| path.strip_prefix("/work/project/").unwrap()).collect();
        assert_eq!(below, expect, "{pattern}");
    };
    check("*.py", &[], &["src/deep/util.py", "src/link.py", "src/main.py", "src/pipe.py"]);
    check("src/*.py", &["link*", "pipe*"], &["src/main.py"]);
    check("**/*.{js,md}", &[], &["node_modules/x/index.js", "readme.md"]);
    check("**/*.{js,md}", &["node_modules"], &["readme.md"]);
    check("de*/", &[], &["src/deep"]);
    check("/work/project/r*", &[], &["readme.md"]);
    check("nothing", &[], &[]);
    assert_eq!(glob(&mut client, "project/readme.md", "*", &[]).unwrap_err().code, ErrorCode::NotADirectory);
    assert_eq!(glob(&mut client, "project", "{a", &[]).unwrap_err().code, ErrorCode::Invalid);
}

#[test]
fn text_is_found_in_text_files_alone() {
    let (_agent, mut client) = project();
    let found = grep(&mut client, "project/src", "needle", None).unwrap();
    assert_eq!(
        found,
        [("/work/project/src/deep/util.py".to_owned(), 2), ("/work/project/src/main.py".to_owned(), 2)]
    );
    assert_eq!(
        grep(&mut client, "project", "needle", Some("*.js")).unwrap(),
        [("/work/project/node_modules/x/index.js".into(), 1)]
    );
    assert_eq!(
        grep(&mut client, "project/src/link.py", "import", None).unwrap(),
        [("/work/project/src/link.py".into(), 1)]
    );
    assert_eq!(grep(&mut client, "project", "n.edle", None).unwrap(), [], "a text, not an expression");
    assert_eq!(grep(&mut client, "project/src/pipe.py", "x", None).unwrap_err().code, ErrorCode::Invalid);
    for pattern in ["", "a\nb"] {
        assert_eq!(grep(&mut client, "project", pattern, None).unwrap_err().code, ErrorCode::Invalid);
    }
}

#[test]
fn a_tree_goes_as_deep_as_it_is_asked() {
    let (_agent, mut client) = project();
    let step = |depth, name: &str, is_dir| (depth, name.to_owned(), is_dir);
    let shallow = [
        step(0, "deep", true),
        step(0, "link.py", false),
        step(0, "main.py", false),
        step(0, "pipe.py", false),
        step(0, "up", false),
    ];
    assert_eq!(tree(&mut client, "project/src", Some(1)).unwrap(), shallow);
    let whole = tree(&mut client, "project/src", None).unwrap();
    assert_eq!(whole[..3], [step(0, "deep", true), step(1, "data.bin", false), step(1, "util.py", false)]);
}

#[test]
fn names_that_are_no_text_are_shown_as_far_as_they_can_be() {
    let (agent, mut client) = Agent::claimed();
    fs::write(agent.outside("/work").join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "needle").unwrap();
    fs::write(agent.outside("/work/line\nend\""), "needle").unwrap();
    assert_eq!(list(&mut client, ".", false, &[]).unwrap(), ["/work/caf\u{fffd}", "/work/line\nend\""]);
    assert_eq!(grep(&mut client, ".", "needle", None).unwrap().len(), 2);
}

#[test]
fn a_large_directory_comes_whole_and_in_little_memory() {
    let (agent, mut client) = Agent::claimed();
    fs::create_dir(agent.outside("/work/many")).unwrap();
    let directory = fs::File::open(agent.outside("/work/many")).unwrap();
    let name = |number: usize| format!("{number:06}-{}", "x".repeat(200));
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    for number in 0..30_000 {
        rustix::fs::openat(&directory, name(number), flags, 0o644.into()).unwrap();
    }
    let listed = glob(&mut client, "many", "*", &[]).unwrap();
    let mut names: Vec<_> = listed.iter().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect();
    names.sort();
    assert!(names == (0..30_000).map(name).collect::<Vec<_>>(), "{} names came", names.len());
    let resident = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let resident = resident.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 24 * 1024, "the agent grew to {kib} KiB");
}

#[test]
fn a_tree_that_is_too_deep_is_told() {
    let (agent, mut client) = Agent::claimed();
    let mut at = rustix::fs::open(agent.outside("/work"), rustix::fs::OFlags::PATH, 0.into()).unwrap();
    for _ in 0..400 {
        rustix::fs::mkdirat(&at, "d", 0o755.into()).unwrap();
        at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::PATH, 0.into()).unwrap();
    }
    let error = list(&mut client, ".", true, &[]).unwrap_err();
    assert!(error.code == ErrorCode::TooLarge && error.message.contains("256 levels"), "{error}");
    assert_eq!(list(&mut client, ".", true, &["d"]).unwrap(), [""; 0]);
}

#[test]
fn a_walk_that_is_cancelled_ends() {
    let (agent, mut client) = Agent::claimed();
    for number in 0..20_000 {
        fs::write(agent.outside("/work").join(format!("{number:0>200}")), "").unwrap();
    }
    // More than what is granted: the walk waits.
    let streams: Vec<u32> = (0..100)
        .map(|_| {
            client.open(&Request::Walk(Walk::Glob {
                path: ".".into(),
                pattern: "*".into(),
                exclude: Vec::new(),
            }))
        })
        .collect();
    for stream in &streams {
        client.send(*stream, wire::guest::frame::Body::Cancel);
    }
    drop(client);
    let mut other = agent.reconnect();
    assert_eq!(glob(&mut other, ".", "*0007", &[]).unwrap().len(), 2);
}
