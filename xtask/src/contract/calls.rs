//! The part of `contract/guest.txt` that is about files, processes with an id, terminals, what a sandbox starts with,
//! and what it goes on with.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use wire::guest::boot::{Boot, Booted, Ready};
use wire::guest::bundle::{self, FileHeader};
use wire::guest::file::{Edit, FileCall, FileInfo, Match, Node, Walk};
use wire::guest::process::{ProcessCall, ProcessInfo};
use wire::guest::pty::{PtyCall, PtyInfo, PtySpec};
use wire::guest::renew::{HookEnd, Renew, RenewKind, Renewed};
use wire::guest::watch::Change;
use wire::guest::{Command, ExecCause, ExecEnd, Whoami};
use wire::sandbox::{HttpProbe, Probe};

use super::{every_variant, example};

fn path() -> String {
    "a".into()
}

fn other() -> String {
    "b".into()
}

fn id() -> String {
    "build".into()
}

/// Every [`FileCall`].
pub fn file_calls() -> Result<Vec<String>> {
    let owner = || Some("user".to_owned());
    let edit = Edit { find: "x".into(), replace: "y".into() };
    Ok(every_variant!(FileCall {
        FileCall::Stat { .. } => FileCall::Stat { path: path() },
        FileCall::Exists { .. } => FileCall::Exists { path: path() },
        FileCall::MakeDirectory { .. } => FileCall::MakeDirectory { path: path(), recursive: true, mode: 0o755 },
        FileCall::Remove { .. } => FileCall::Remove { path: path(), recursive: false },
        FileCall::SetPermissions { .. } =>
            FileCall::SetPermissions { path: path(), mode: Some(0o640), owner: owner(), group: owner() },
        FileCall::Move { .. } => FileCall::Move { from: path(), to: other(), overwrite: false },
        FileCall::Copy { .. } => FileCall::Copy { from: path(), to: other(), recursive: true, overwrite: false },
        FileCall::Edit { .. } => FileCall::Edit { path: path(), edits: vec![edit.clone()] },
        FileCall::CheckReadable { .. } => FileCall::CheckReadable { paths: vec![path()] },
    }))
}

/// A [`Walk`].
pub fn list() -> Walk {
    Walk::List { path: path(), recursive: false, exclude: vec!["*.o".into()] }
}

/// Every [`Walk`].
pub fn walks() -> Result<Vec<String>> {
    let none = Vec::new;
    Ok(every_variant!(Walk {
        Walk::List { .. } => list(),
        Walk::Glob { .. } => Walk::Glob { path: path(), pattern: "**/*.rs".into(), exclude: none() },
        Walk::Grep { .. } =>
            Walk::Grep { path: path(), pattern: "x".into(), include: Some("*.rs".into()), exclude: none() },
        Walk::Tree { .. } => Walk::Tree { path: path(), max_depth: Some(2), exclude: none() },
    }))
}

/// A [`FileInfo`].
pub fn file_info() -> FileInfo {
    FileInfo {
        name: path(),
        path: "/workspace/a".into(),
        is_dir: false,
        size: 5,
        mode: "777".into(),
        mtime: 1_700_000_000,
        owner: "user".into(),
        group: "user".into(),
        is_symlink: true,
        link_target: Some(other()),
    }
}

/// A line of each kind of walk, but for that of `Glob`, a string.
pub fn findings() -> Result<Vec<String>> {
    let found = Match { path: "/workspace/a".into(), line: 3, content: "x = 1".into() };
    let node = Node { depth: 0, name: path(), is_dir: true };
    Ok(vec![example(&file_info())?, example(&found)?, example(&node)?])
}

/// Every [`Change`].
pub fn changes() -> Result<Vec<String>> {
    let place = || "/workspace/a".to_owned();
    Ok(every_variant!(Change {
        Change::Created { .. } => Change::Created { path: place(), is_dir: true },
        Change::Modified { .. } => Change::Modified { path: place() },
        Change::Written { .. } => Change::Written { path: place() },
        Change::Attributes { .. } => Change::Attributes { path: place(), is_dir: false },
        Change::Moved { .. } => Change::Moved { from: place(), to: "/workspace/b".into(), is_dir: false },
        Change::Deleted { .. } => Change::Deleted { path: place(), is_dir: false },
        Change::Rescan => Change::Rescan,
    }))
}

/// A bundle, byte by byte.
pub fn bundle() -> Vec<String> {
    let header = FileHeader { path: path(), mode: Some(0o644) };
    [bundle::Part::File(header), bundle::Part::Piece(Bytes::from_static(b"hi")), bundle::Part::End]
        .iter()
        .map(|part| {
            let mut bytes = BytesMut::new();
            bundle::encode(part, &mut bytes);
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            hex.join(" ")
        })
        .collect()
}

/// Every [`ProcessCall`].
pub fn process_calls() -> Result<Vec<String>> {
    Ok(every_variant!(ProcessCall {
        ProcessCall::Attach { .. } => ProcessCall::Attach { id: id(), from: 7 },
        ProcessCall::Input { .. } => ProcessCall::Input { id: id(), close: true },
        ProcessCall::Signal { .. } => ProcessCall::Signal { id: id(), signal: 15 },
        ProcessCall::Wait { .. } => ProcessCall::Wait { id: id() },
        ProcessCall::List => ProcessCall::List,
        ProcessCall::Get { .. } => ProcessCall::Get { id: id() },
        ProcessCall::Forget { .. } => ProcessCall::Forget { id: id() },
    }))
}

/// A [`ProcessInfo`].
pub fn process_info() -> ProcessInfo {
    ProcessInfo {
        id: id(),
        pid: 42,
        command: "make".into(),
        cwd: "/workspace".into(),
        started_at_ms: 1_700_000_000_000,
        ended_at_ms: Some(1_700_000_001_000),
        end: Some(ExecEnd { exit_code: Some(0), signal: None, cause: ExecCause::Itself }),
        first_piece: 3,
        next_piece: 9,
        stdin: false,
    }
}

/// Every [`PtyCall`].
pub fn pty_calls() -> Result<Vec<String>> {
    let spec = PtySpec {
        id: id(),
        cols: 80,
        rows: 24,
        cwd: Some("src".into()),
        env: BTreeMap::from([("LANG".into(), "C.UTF-8".into())]),
        user: Some("root".into()),
        command: Some(Command::Argv(vec!["top".into()])),
        lazy: true,
    };
    Ok(every_variant!(PtyCall {
        PtyCall::Open(_) => PtyCall::Open(spec),
        PtyCall::Attach { .. } => PtyCall::Attach { id: id() },
        PtyCall::Resize { .. } => PtyCall::Resize { id: id(), cols: 132, rows: 50 },
        PtyCall::List => PtyCall::List,
        PtyCall::Get { .. } => PtyCall::Get { id: id() },
        PtyCall::Close { .. } => PtyCall::Close { id: id() },
    }))
}

/// A [`PtyInfo`].
pub fn pty_info() -> PtyInfo {
    PtyInfo {
        id: id(),
        cols: 80,
        rows: 24,
        cwd: "/workspace".into(),
        env: BTreeMap::new(),
        created_at_ms: 1_700_000_000_000,
        active: true,
        lazy: false,
    }
}

/// A [`Boot`].
pub fn boot() -> Boot {
    Boot { argv: vec!["serve".into()], ready: Some(Ready { probe: Probe::Port(8080), timeout_ms: 60_000 }) }
}

/// Every [`Probe`].
pub fn probes() -> Result<Vec<String>> {
    Ok(every_variant!(Probe {
        Probe::Port(_) => Probe::Port(8080),
        Probe::Http(_) => Probe::Http(HttpProbe { port: 8080, path: "/health".into() }),
        Probe::Command(_) => Probe::Command("test -e ready".into()),
    }))
}

/// A [`Booted`].
pub fn booted() -> Booted {
    Booted {
        is_up: false,
        waited_ms: 1500,
        tries: 9,
        last_answer: "connection refused".into(),
        end: Some(ExecEnd { exit_code: Some(1), signal: None, cause: ExecCause::Itself }),
        last_words: "no configuration".into(),
    }
}

/// A [`Whoami`].
pub fn whoami() -> Whoami {
    Whoami {
        user: "user".into(),
        uid: 1000,
        gid: 1000,
        home: "/home/user".into(),
        workdir: "/workspace".into(),
    }
}

/// A [`Renew`].
pub fn renew() -> Renew {
    Renew {
        token: "ff00".into(),
        hostname: "sbx".into(),
        wall_ms: 1_700_000_000_000,
        kind: RenewKind::Fork,
        entropy: "c0ffee".into(),
    }
}

/// Every [`RenewKind`].
pub fn renew_kinds() -> Result<Vec<String>> {
    Ok(every_variant!(RenewKind {
        RenewKind::Wake => RenewKind::Wake,
        RenewKind::Restore => RenewKind::Restore,
        RenewKind::Fork => RenewKind::Fork,
    }))
}

/// A [`Renewed`].
pub fn renewed() -> Renewed {
    let hook =
        HookEnd { name: "10-seed".into(), exit_code: Some(1), timed_out: false, said: "no seed\n".into() };
    Renewed {
        clock_stepped_ms: -1500,
        generation_id: "00112233445566778899aabbccddeeff".into(),
        hooks: vec![hook],
        notes: vec!["/etc/machine-id: no space left on device".into()],
    }
}
