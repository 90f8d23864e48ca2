//! Operations on files, one word each.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use wire::guest::file::{Edit, FileCall, FileInfo};
use wire::guest::frame::Body;
use wire::guest::{Done, Edited, Error, ErrorCode, Part, Request};

use crate::harness::{Agent, Client, claim_for_ordinary_user, eventually};

fn ask(client: &mut Client, call: FileCall) -> Result<Done, Error> {
    let stream = client.open(&Request::File(call));
    client.collect(stream).3
}

/// Carries out an operation that has nothing to say; the code of its failure otherwise.
fn code(client: &mut Client, call: FileCall) -> Option<ErrorCode> {
    match ask(client, call) {
        Ok(Done::Nothing) => None,
        Ok(other) => panic!("another answer: {other:?}"),
        Err(error) => Some(error.code),
    }
}

fn stat(client: &mut Client, path: &str) -> Result<FileInfo, Error> {
    match ask(client, FileCall::Stat { path: path.into() })? {
        Done::Info(info) => Ok(info),
        other => panic!("another answer: {other:?}"),
    }
}

fn make(path: &str, recursive: bool, mode: u32) -> FileCall {
    FileCall::MakeDirectory { path: path.into(), recursive, mode }
}

fn remove(path: &str, recursive: bool) -> FileCall {
    FileCall::Remove { path: path.into(), recursive }
}

fn relocate(from: &str, to: &str, overwrite: bool) -> FileCall {
    FileCall::Move { from: from.into(), to: to.into(), overwrite }
}

fn copy(from: &str, to: &str, recursive: bool, overwrite: bool) -> FileCall {
    FileCall::Copy { from: from.into(), to: to.into(), recursive, overwrite }
}

fn edit(client: &mut Client, path: &str, edits: &[(&str, &str)]) -> Result<Edited, Error> {
    let edits = edits.iter().map(|(find, replace)| Edit { find: (*find).into(), replace: (*replace).into() });
    match ask(client, FileCall::Edit { path: path.into(), edits: edits.collect() })? {
        Done::Edited(edited) => Ok(edited),
        other => panic!("another answer: {other:?}"),
    }
}

fn text(agent: &Agent, path: &str) -> String {
    fs::read_to_string(agent.outside(path)).unwrap()
}

fn put(agent: &Agent, path: &str, content: impl AsRef<[u8]>) {
    let path = agent.outside(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn mode_of(agent: &Agent, path: &str) -> u32 {
    fs::symlink_metadata(agent.outside(path)).unwrap().mode() & 0o7777
}

fn fifo(agent: &Agent, path: &str) {
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, agent.outside(path), kind, 0o666.into(), 0).unwrap();
}

#[test]
fn a_file_is_described_as_it_is() {
    let (agent, mut client) = Agent::claimed();
    put(&agent, "/etc/passwd", "me:x:0:0::/:/bin/sh\nagain:x:0:0::/:/bin/sh\n");
    put(&agent, "/work/dir/f", "12345");
    symlink("dir/f", agent.outside("/work/link")).unwrap();
    fs::set_permissions(agent.outside("/work/dir/f"), fs::Permissions::from_mode(0o640)).unwrap();
    let info = stat(&mut client, "dir/./f").unwrap();
    assert_eq!((info.name.as_str(), info.path.as_str(), info.size), ("f", "/work/dir/f", 5));
    assert_eq!((info.mode.as_str(), info.is_dir, info.is_symlink), ("640", false, false));
    assert_eq!(info.mtime, fs::metadata(agent.outside("/work/dir/f")).unwrap().mtime());
    if rustix::process::geteuid().is_root() {
        assert_eq!((info.owner.as_str(), info.group.as_str()), ("me", "0"), "no name, a number");
    }
    let link = stat(&mut client, "link").unwrap();
    assert!(link.is_symlink && !link.is_dir && link.link_target.as_deref() == Some("dir/f"), "{link:?}");
    let directory = stat(&mut client, "dir/../dir/").unwrap();
    assert_eq!(
        (directory.path.as_str(), directory.is_dir, directory.name.as_str()),
        ("/work/dir", true, "dir")
    );
    assert_eq!(stat(&mut client, "/").unwrap().path, "/");
    assert_eq!(stat(&mut client, "dir/..").unwrap().path, "/work");
    assert_eq!(stat(&mut client, "gone").unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(stat(&mut client, "dir/f/x").unwrap_err().code, ErrorCode::NotADirectory);
}

#[test]
fn whether_something_is_there_is_seen_through_links() {
    let (agent, mut client) = Agent::claimed();
    put(&agent, "/work/f", "");
    symlink("f", agent.outside("/work/link")).unwrap();
    symlink("gone", agent.outside("/work/dangling")).unwrap();
    symlink("loop", agent.outside("/work/loop")).unwrap();
    for (path, expect) in [
        ("f", true),
        ("link", true),
        ("/", true),
        ("dangling", false),
        ("loop", false),
        ("f/x", false),
        ("gone", false),
    ] {
        let truth = ask(&mut client, FileCall::Exists { path: path.into() });
        assert_eq!(truth, Ok(Done::Truth(expect)), "{path}");
    }
}

#[test]
fn directories_are_made_with_their_mode_whatever_the_umask() {
    let (agent, mut client) = Agent::claimed();
    assert_eq!(code(&mut client, make("a", false, 0o777)), None);
    assert_eq!(mode_of(&agent, "/work/a"), 0o777);
    assert_eq!(code(&mut client, make("a", false, 0o755)), Some(ErrorCode::AlreadyExists));
    assert_eq!(code(&mut client, make("a/b/c", false, 0o755)), Some(ErrorCode::NotFound));
    assert_eq!(code(&mut client, make("a/b/c", true, 0o700)), None);
    assert_eq!((mode_of(&agent, "/work/a/b"), mode_of(&agent, "/work/a/b/c")), (0o700, 0o700));
    assert_eq!(mode_of(&agent, "/work/a"), 0o777, "what was there is as it was");
    assert_eq!(code(&mut client, make("a/b/c", true, 0o755)), None, "there already");
    put(&agent, "/work/f", "");
    assert_eq!(code(&mut client, make("f", true, 0o755)), Some(ErrorCode::NotADirectory));
    assert_eq!(code(&mut client, make("f/x", true, 0o755)), Some(ErrorCode::NotADirectory));
    assert_eq!(code(&mut client, make("/", false, 0o755)), Some(ErrorCode::AlreadyExists));
}

#[test]
fn things_are_removed_and_the_root_is_not() {
    let (agent, mut client) = Agent::claimed();
    put(&agent, "/work/dir/deep/f", "");
    fifo(&agent, "/work/dir/pipe");
    symlink("/work/kept", agent.outside("/work/dir/link")).unwrap();
    put(&agent, "/work/kept/f", "");
    assert_eq!(code(&mut client, remove("dir", false)), Some(ErrorCode::NotEmpty));
    assert_eq!(code(&mut client, remove("dir/pipe", false)), None);
    assert_eq!(code(&mut client, remove("dir", true)), None);
    assert!(!agent.outside("/work/dir").exists() && agent.outside("/work/kept/f").exists());
    assert_eq!(code(&mut client, remove("dir", true)), Some(ErrorCode::NotFound));
    for root in ["/", "..", "../..", "/work/..", "."] {
        let expect = if root == "." { None } else { Some(ErrorCode::Invalid) };
        if expect.is_some() {
            assert_eq!(code(&mut client, remove(root, true)), expect, "{root}");
        }
    }
    assert!(agent.outside("/work/kept").is_dir());
}

#[test]
fn permissions_are_changed_as_far_as_the_user_may() {
    let (agent, mut client) = Agent::claimed_with(claim_for_ordinary_user());
    client.write("f", b"").unwrap();
    symlink("f", agent.outside("/work/link")).unwrap();
    let set = |path: &str, mode, owner: Option<&str>| FileCall::SetPermissions {
        path: path.into(),
        mode,
        owner: owner.map(str::to_owned),
        group: None,
    };
    assert_eq!(code(&mut client, set("link", Some(0), None)), None);
    assert_eq!(mode_of(&agent, "/work/f"), 0, "links are followed");
    assert_eq!(client.read("f", Part::Whole).unwrap_err().code, ErrorCode::PermissionDenied);
    assert_eq!(code(&mut client, set("f", Some(0o755), None)), None, "without being allowed to read it");
    assert_eq!(mode_of(&agent, "/work/f"), 0o755);
    assert_eq!(code(&mut client, set("f", None, Some("0"))), Some(ErrorCode::PermissionDenied));
    assert_eq!(code(&mut client, set("f", None, Some("nobody-knows"))), Some(ErrorCode::NotFound));
    assert_eq!(code(&mut client, set("gone", Some(0o755), None)), Some(ErrorCode::NotFound));
}

#[test]
fn things_are_moved_and_nothing_is_lost() {
    let (agent, mut client) = Agent::claimed();
    put(&agent, "/work/a", "a");
    put(&agent, "/work/b", "b");
    put(&agent, "/work/dir/inner/f", "f");
    put(&agent, "/work/other/inner/g", "g");
    assert_eq!(code(&mut client, relocate("a", "b", false)), Some(ErrorCode::AlreadyExists));
    assert_eq!(code(&mut client, relocate("a", "a", true)), Some(ErrorCode::Invalid), "onto itself");
    assert_eq!(code(&mut client, relocate("gone", "x", false)), Some(ErrorCode::NotFound));
    assert_eq!(code(&mut client, relocate("a", "no/such/x", false)), Some(ErrorCode::NotFound));
    assert_eq!(code(&mut client, relocate("a", "b", true)), None);
    assert_eq!((text(&agent, "/work/b").as_str(), agent.outside("/work/a").exists()), ("a", false));
    for into_itself in ["dir", "dir/inner", "dir/inner/x"] {
        assert_eq!(
            code(&mut client, relocate("dir", into_itself, true)),
            Some(ErrorCode::Invalid),
            "{into_itself}"
        );
    }
    assert_eq!(code(&mut client, relocate("/", "x", true)), Some(ErrorCode::Invalid));
    assert_eq!(code(&mut client, relocate("dir/inner", "other", true)), Some(ErrorCode::NotEmpty));
    assert_eq!(code(&mut client, relocate("b", "dir", false)), None, "into the directory");
    assert_eq!(text(&agent, "/work/dir/b"), "a");
    assert_eq!(code(&mut client, relocate("dir", "new", false)), None);
    assert_eq!(text(&agent, "/work/new/inner/f"), "f");
}

#[test]
fn what_is_moved_to_another_file_system_is_the_same_there() {
    if !rustix::process::geteuid().is_root() {
        // Another file system needs a mount, and a mount needs root.
        return;
    }
    let (agent, mut client) = Agent::claimed();
    put(&agent, "/work/dir/f", "content");
    symlink("f", agent.outside("/work/dir/link")).unwrap();
    fs::set_permissions(agent.outside("/work/dir/f"), fs::Permissions::from_mode(0o600)).unwrap();
    let before = fs::metadata(agent.outside("/work/dir/f")).unwrap();
    let small = agent.outside("/small");
    fs::create_dir(&small).unwrap();
    rustix::mount::mount("none", &small, "tmpfs", rustix::mount::MountFlags::NOSUID, c"size=256k").unwrap();
    put(&agent, "/work/large/f", vec![0; 1 << 20]);
    let moved = code(&mut client, relocate("dir", "/small/moved", false));
    let refused = code(&mut client, relocate("large", "/small", false));
    let names: Vec<_> = fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let after = fs::metadata(small.join("moved/f")).unwrap();
    let link = fs::read_link(small.join("moved/link")).unwrap();
    rustix::mount::unmount(&small, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!((moved, refused), (None, Some(ErrorCode::DiskFull)));
    assert_eq!(
        (after.mode(), after.mtime(), after.mtime_nsec()),
        (before.mode(), before.mtime(), before.mtime_nsec())
    );
    assert_eq!(link.to_str(), Some("f"));
    assert_eq!(names, ["moved"], "half of a tree is left");
    assert!(!agent.outside("/work/dir").exists() && agent.outside("/work/large/f").exists());
}

#[test]
fn copies_have_permissions_and_times_and_links_stay_links() {
    let (agent, mut client) = Agent::claimed();
    put(&agent, "/work/dir/deep/f", "content");
    symlink("/etc/gone", agent.outside("/work/dir/link")).unwrap();
    fifo(&agent, "/work/dir/pipe");
    for (path, mode) in [("/work/dir/deep/f", 0o751), ("/work/dir/deep", 0o750)] {
        fs::set_permissions(agent.outside(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(code(&mut client, copy("dir", "copy", false, false)), Some(ErrorCode::IsADirectory));
    assert_eq!(code(&mut client, copy("dir", "copy", true, false)), None);
    assert_eq!(text(&agent, "/work/copy/deep/f"), "content");
    assert_eq!((mode_of(&agent, "/work/copy/deep/f"), mode_of(&agent, "/work/copy/deep")), (0o751, 0o750));
    for path in ["dir/deep/f", "dir/deep", "dir"] {
        let times = |path: &str| {
            fs::metadata(agent.outside("/work").join(path)).map(|meta| (meta.mtime(), meta.mtime_nsec()))
        };
        assert_eq!(times(path).unwrap(), times(&path.replacen("dir", "copy", 1)).unwrap(), "{path}");
    }
    assert_eq!(fs::read_link(agent.outside("/work/copy/link")).unwrap().to_str(), Some("/etc/gone"));
    assert!(!fs::symlink_metadata(agent.outside("/work/copy/pipe")).unwrap().is_file());
    assert_eq!(code(&mut client, copy("dir", "copy", true, false)), None, "into the directory");
    assert_eq!(text(&agent, "/work/copy/dir/deep/f"), "content");
}

#[test]
fn a_copy_replaces_only_what_it_may() {
    let (agent, mut client) = Agent::claimed();
    put(&agent, "/work/a", "a");
    put(&agent, "/work/b", "b");
    put(&agent, "/work/from/x/f", "new");
    put(&agent, "/work/to/from/x/f", "old");
    put(&agent, "/work/to/from/kept", "kept");
    assert_eq!(code(&mut client, copy("a", "b", false, false)), Some(ErrorCode::AlreadyExists));
    assert_eq!(code(&mut client, copy("a", "a", false, true)), Some(ErrorCode::Invalid), "onto itself");
    assert_eq!(code(&mut client, copy("a", "b", false, true)), None);
    assert_eq!(text(&agent, "/work/b"), "a");
    assert_eq!(code(&mut client, copy("from", "to", true, false)), Some(ErrorCode::AlreadyExists));
    assert_eq!(code(&mut client, copy("from", "to", true, true)), None);
    assert_eq!(
        (text(&agent, "/work/to/from/x/f").as_str(), text(&agent, "/work/to/from/kept").as_str()),
        ("new", "kept")
    );
    for into_itself in ["from", "from/x", "from/x/new"] {
        assert_eq!(
            code(&mut client, copy("from", into_itself, true, true)),
            Some(ErrorCode::Invalid),
            "{into_itself}"
        );
    }
    assert_eq!(code(&mut client, copy("from", "a", true, true)), Some(ErrorCode::NotADirectory));
    assert_eq!(code(&mut client, copy("a", "to/from/x", false, true)), None);
    assert_eq!(text(&agent, "/work/to/from/x/a"), "a");
}

#[test]
fn an_edit_replaces_text_and_keeps_the_rest() {
    let (agent, mut client) = Agent::claimed();
    put(&agent, "/work/f", "one\r\ntwo\r\nthree\r\n");
    fs::set_permissions(agent.outside("/work/f"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("f", agent.outside("/work/link")).unwrap();
    let edited = edit(&mut client, "link", &[("two", "2"), ("e", "E"), ("absent", "x")]).unwrap();
    assert_eq!(edited.replacements, 1 + 3);
    assert_eq!(
        edited.diff,
        "--- /work/link\n+++ /work/link\n@@ -1,3 +1,3 @@\n-one\r\n-two\r\n-three\r\n+onE\r\n+2\r\n+thrEE\r\n"
    );
    assert_eq!(
        (text(&agent, "/work/f").as_str(), mode_of(&agent, "/work/f")),
        ("onE\r\n2\r\nthrEE\r\n", 0o755)
    );
    assert!(fs::symlink_metadata(agent.outside("/work/link")).unwrap().is_symlink());
    let unchanged = edit(&mut client, "f", &[("absent", "x"), ("E", "E")]).unwrap();
    assert_eq!((unchanged.diff.as_str(), unchanged.replacements), ("", 3));
}

#[test]
fn what_cannot_be_edited_is_told_and_left_as_it_is() {
    let (agent, mut client) = Agent::claimed_with(claim_for_ordinary_user());
    let mut failed = |path: &str, edits: &[(&str, &str)]| edit(&mut client, path, edits).unwrap_err();
    put(&agent, "/work/binary", "a\0b");
    put(&agent, "/work/latin", b"caf\xe9 a");
    put(&agent, "/work/large", vec![b'a'; (16 << 20) + 1]);
    put(&agent, "/work/grows", vec![b'a'; 1 << 20]);
    fs::create_dir(agent.outside("/work/dir")).unwrap();
    fifo(&agent, "/work/pipe");
    let binary = failed("binary", &[("a", "b")]);
    assert!(binary.code == ErrorCode::Invalid && binary.message.contains("binary"), "{binary}");
    assert_eq!(failed("large", &[("a", "b")]).code, ErrorCode::TooLarge);
    assert_eq!(failed("grows", &[("a", &"b".repeat(100))]).code, ErrorCode::TooLarge);
    assert_eq!(failed("dir", &[("a", "b")]).code, ErrorCode::IsADirectory);
    assert_eq!(failed("pipe", &[("a", "b")]).code, ErrorCode::Invalid);
    assert_eq!(failed("gone/f", &[("a", "b")]).code, ErrorCode::NotFound);
    assert!(!agent.outside("/work/gone").exists(), "a directory was made for a file that is not there");
    assert_eq!(failed("latin", &[("", "b")]).code, ErrorCode::Invalid);
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Theirs to read, not to write: made by root outside.
    assert_eq!(failed("latin", &[("a", "b")]).code, ErrorCode::PermissionDenied);
    std::os::unix::fs::chown(agent.outside("/work/latin"), Some(1000), Some(1000)).unwrap();
    let edited = edit(&mut client, "latin", &[("a", "b")]).unwrap();
    assert_eq!(edited.replacements, 2);
    assert_eq!(fs::read(agent.outside("/work/latin")).unwrap(), b"cbf\xe9 b", "other bytes are as they were");
}

#[test]
fn all_are_checked_before_they_are_read() {
    let (agent, mut client) = Agent::claimed();
    put(&agent, "/work/a", "");
    fifo(&agent, "/work/pipe");
    let check = |paths: &[&str]| FileCall::CheckReadable {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    };
    assert_eq!(code(&mut client, check(&["a", "a"])), None);
    assert_eq!(code(&mut client, check(&["a", "gone"])), Some(ErrorCode::NotFound));
    assert_eq!(code(&mut client, check(&["a", "/work"])), Some(ErrorCode::IsADirectory));
    assert_eq!(code(&mut client, check(&["pipe"])), Some(ErrorCode::Invalid));
}

/// While trees are removed and copied, what is in them becomes links to outside and back. Nothing outside is touched.
#[test]
fn links_that_are_swapped_in_lead_nowhere() {
    let (agent, mut client) = Agent::claimed();
    let outside = tempfile::tempdir().unwrap();
    for number in 0..20 {
        fs::write(outside.path().join(format!("f{number}")), "secret").unwrap();
    }
    let (target, tree) = (outside.path().to_owned(), agent.outside("/work/tree"));
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let swapping = {
        let (stop, tree, target) = (stop.clone(), tree.clone(), target.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let spot = tree.join("a/spot");
                let _ = fs::create_dir_all(&spot);
                let _ = fs::write(spot.join("f1"), "inside");
                let _ = fs::rename(&spot, tree.join("a/aside"));
                let _ = symlink(&target, &spot);
                let _ = fs::remove_file(&spot);
                let _ = fs::rename(tree.join("a/aside"), &spot);
            }
        })
    };
    for round in 0..150 {
        put(&agent, "/work/tree/b/deep/f1", "inside");
        let _ = code(&mut client, copy("tree", &format!("copy{round}"), true, true));
        let _ = code(&mut client, remove("tree", true));
    }
    stop.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    assert_eq!(fs::read_dir(&target).unwrap().count(), 20, "something outside was removed or made");
    for entry in fs::read_dir(agent.outside("/work")).unwrap().flatten() {
        assert!(!holds_secret(&entry.path()), "{} has what is outside", entry.path().display());
    }
}

fn holds_secret(path: &std::path::Path) -> bool {
    let meta = fs::symlink_metadata(path).unwrap();
    if meta.is_dir() {
        return fs::read_dir(path).unwrap().flatten().any(|entry| holds_secret(&entry.path()));
    }
    meta.is_file() && fs::read_to_string(path).unwrap() == "secret"
}

#[test]
fn a_copy_that_is_cancelled_leaves_nothing() {
    let (agent, mut client) = Agent::claimed();
    put(&agent, "/work/large/f", "");
    let large = fs::File::options().write(true).open(agent.outside("/work/large/f")).unwrap();
    // Sparse: it takes long to copy, and only the copy takes room.
    large.set_len(4 << 30).unwrap();
    let stream = client.open(&Request::File(copy("large", "copy", true, false)));
    let names = || fs::read_dir(agent.outside("/work")).unwrap().count();
    eventually("the copy is under way", || names() == 2);
    client.send(stream, Body::Cancel);
    assert_eq!(client.collect(stream).3.unwrap_err().code, ErrorCode::Cancelled);
    assert_eq!(names(), 1);
}
