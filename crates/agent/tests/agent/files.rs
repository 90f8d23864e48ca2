//! Files, as the sandbox's user sees them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use wire::guest::frame::{Body, Channel};
use wire::guest::{Claim, ErrorCode, Part, Request, WriteFile};

use crate::harness::{Agent, Client, claim, claim_for_ordinary_user, eventually};

fn bytes_of(count: usize) -> Vec<u8> {
    (0..count).map(|number| (number.wrapping_mul(31) >> 3) as u8).collect()
}

fn mode_of(agent: &Agent, path: &str) -> u32 {
    fs::metadata(agent.outside(path)).unwrap().mode() & 0o7777
}

#[test]
fn what_is_written_is_read() {
    let (_agent, mut client) = Agent::claimed();
    for size in [0, 1, 65_536, 3_000_001] {
        let content = bytes_of(size);
        assert_eq!(client.write("a/b/c", &content).unwrap(), size as u64);
        assert_eq!(client.read("/work/a/b/c", Part::Whole).unwrap(), content, "{size} bytes");
    }
}

#[test]
fn parts_of_a_file() {
    let (_agent, mut client) = Agent::claimed();
    client.write("f", b"one\ntwo\nthree\nfour").unwrap();
    let mut read = |part| String::from_utf8(client.read("f", part).unwrap()).unwrap();
    assert_eq!(read(Part::Bytes { offset: 4, limit: Some(3) }), "two");
    assert_eq!(read(Part::Bytes { offset: 14, limit: None }), "four");
    assert_eq!(read(Part::Bytes { offset: 100, limit: Some(1) }), "");
    assert_eq!(read(Part::Head { lines: 2 }), "one\ntwo\n");
    assert_eq!(read(Part::Head { lines: 0 }), "");
    assert_eq!(read(Part::Head { lines: u64::MAX }), "one\ntwo\nthree\nfour");
    assert_eq!(read(Part::Tail { lines: 2 }), "three\nfour");
    assert_eq!(read(Part::Tail { lines: u64::MAX }), "one\ntwo\nthree\nfour");
}

#[test]
fn a_written_file_is_readable_and_keeps_its_mode() {
    let (agent, mut client) = Agent::claimed();
    client.write("new", b"1").unwrap();
    assert_eq!(mode_of(&agent, "/work/new"), 0o644);
    client.write_with_mode("tool", b"1", Some(0o4755)).unwrap();
    assert_eq!(mode_of(&agent, "/work/tool"), 0o755, "setuid is not for the asking");
    client.write("tool", b"2").unwrap();
    assert_eq!(mode_of(&agent, "/work/tool"), 0o755);
    client.write_with_mode("tool", b"3", Some(0o600)).unwrap();
    assert_eq!(mode_of(&agent, "/work/tool"), 0o600);
}

#[test]
fn links_are_followed_to_the_file_they_mean() {
    let (agent, mut client) = Agent::claimed();
    client.write("dir/target", b"old").unwrap();
    symlink("/work/dir/target", agent.outside("/work/absolute")).unwrap();
    symlink("dir/target", agent.outside("/work/relative")).unwrap();
    symlink("not/yet", agent.outside("/work/dangling")).unwrap();
    symlink("loop", agent.outside("/work/loop")).unwrap();
    for link in ["absolute", "relative"] {
        client.write(link, link.as_bytes()).unwrap();
        assert_eq!(client.read("dir/target", Part::Whole).unwrap(), link.as_bytes());
        assert!(
            fs::symlink_metadata(agent.outside("/work").join(link)).unwrap().is_symlink(),
            "the link was replaced"
        );
    }
    client.write("dangling", b"made").unwrap();
    assert_eq!(client.read("not/yet", Part::Whole).unwrap(), b"made");
    assert_eq!(client.write("loop", b"x").unwrap_err().code, ErrorCode::Invalid);
}

#[test]
fn what_is_no_regular_file_is_refused_by_name() {
    let (agent, mut client) = Agent::claimed();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        agent.outside("/work/fifo"),
        rustix::fs::FileType::Fifo,
        0o666.into(),
        0,
    )
    .unwrap();
    let errors = [
        (client.read("/work", Part::Whole).unwrap_err(), ErrorCode::IsADirectory, "/work: is a directory"),
        (client.write("/work", b"").unwrap_err(), ErrorCode::IsADirectory, "/work: is a directory"),
        (client.write("/work/", b"").unwrap_err(), ErrorCode::IsADirectory, "is a directory"),
        (client.read("fifo", Part::Whole).unwrap_err(), ErrorCode::Invalid, "/work/fifo: not a regular file"),
        (client.write("fifo", b"x").unwrap_err(), ErrorCode::Invalid, "/work/fifo: not a regular file"),
        (client.read("gone", Part::Whole).unwrap_err(), ErrorCode::NotFound, "/work/gone"),
        (client.read("nul\0", Part::Whole).unwrap_err(), ErrorCode::Invalid, "/work/nul"),
        (client.read(&"x".repeat(5000), Part::Whole).unwrap_err(), ErrorCode::Invalid, "xxx"),
    ];
    for (error, code, message) in errors {
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(message), "{message} is not in: {error}");
    }
    client.write("file", b"").unwrap();
    assert_eq!(client.write("file/below", b"").unwrap_err().code, ErrorCode::NotADirectory);
}

#[test]
fn the_users_rights_decide_not_the_agents() {
    let (agent, mut client) = Agent::claimed_with(claim_for_ordinary_user());
    client.write("secret", b"mine").unwrap();
    fs::set_permissions(agent.outside("/work/secret"), fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(client.read("secret", Part::Whole).unwrap_err().code, ErrorCode::PermissionDenied);
    assert_eq!(client.write("secret", b"x").unwrap_err().code, ErrorCode::PermissionDenied);
    assert_ne!(client.sh("cat secret").end.exit_code, Some(0), "a process may what file operations may not");
    fs::create_dir(agent.outside("/closed")).unwrap();
    fs::set_permissions(agent.outside("/closed"), fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(client.write("/closed/x", b"").unwrap_err().code, ErrorCode::PermissionDenied);
    assert_eq!(client.write("/closed/deep/x", b"").unwrap_err().code, ErrorCode::PermissionDenied);
}

#[test]
fn files_and_processes_are_the_users() {
    if !rustix::process::geteuid().is_root() {
        // Only root can be somebody else; for others there is one user, and nothing to tell apart.
        return;
    }
    let agent = Agent::start();
    fs::create_dir(agent.outside("/etc")).unwrap();
    fs::write(agent.outside("/etc/passwd"), "user:x:1234:1235::/home/user:/bin/sh\n").unwrap();
    fs::write(agent.outside("/etc/group"), "team:x:77:user\n").unwrap();
    let mut client = agent.connect();
    assert!(client.hello(crate::harness::TOKEN, Some(claim())).claimed_now);
    assert_eq!(
        fs::metadata(agent.outside("/work")).unwrap().uid(),
        1234,
        "the workdir was made for the user"
    );
    client.write("a/b", b"").unwrap();
    for path in ["/work/a", "/work/a/b"] {
        let meta = fs::metadata(agent.outside(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (1234, 1235), "{path}");
    }
    let ran =
        client.sh("id -u; id -g; id -G; echo $USER $LOGNAME; grep -E 'Cap(Eff|Prm|Bnd)' /proc/self/status");
    let text = ran.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["1234", "1235", "1235 77", "user user"]);
    assert!(lines[4].ends_with("0000000000000000") && lines[5].ends_with("0000000000000000"), "{text}");
    let bounding = u64::from_str_radix(lines[6].split_whitespace().last().unwrap(), 16).unwrap();
    assert_eq!(bounding & (1 << 21), 0, "a setuid program could administer the machine");
    let script = "id -u; grep -c 'CapEff:.*00000000a80425fb' /proc/self/status";
    let root = wire::guest::Exec { user: Some("0".into()), ..crate::harness::shell(script) };
    assert_eq!(client.run(root).text(), "0\n1\n", "root is as in a container");
}

#[test]
fn a_file_that_root_writes_keeps_its_owner() {
    if !rustix::process::geteuid().is_root() {
        // Files can be given away by root alone.
        return;
    }
    let (agent, mut client) = Agent::claimed_with(Claim { user: "root".into(), ..claim() });
    client.write("theirs", b"1").unwrap();
    std::os::unix::fs::chown(agent.outside("/work/theirs"), Some(55), Some(66)).unwrap();
    client.write("theirs", b"2").unwrap();
    let meta = fs::metadata(agent.outside("/work/theirs")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (55, 66));
}

fn begin_write(client: &mut Client, path: &str) -> u32 {
    let stream = client.open(&Request::WriteFile(WriteFile { path: path.into(), mode: None }));
    client.send(stream, Body::Data(Channel::Stdin, vec![b'x'; 50_000].into()));
    stream
}

fn names_in(agent: &Agent, path: &str) -> Vec<String> {
    let entries = fs::read_dir(agent.outside(path)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_write_that_is_cut_leaves_what_was_there() {
    let (agent, mut client) = Agent::claimed();
    client.write("f", b"old").unwrap();
    let stream = begin_write(&mut client, "f");
    eventually("the write is under way", || names_in(&agent, "/work").len() == 2);
    client.send(stream, Body::Cancel);
    assert_eq!(client.collect(stream).3.unwrap_err().code, ErrorCode::Cancelled);
    assert_eq!(names_in(&agent, "/work"), ["f"]);
    let mut other = agent.reconnect();
    begin_write(&mut client, "f");
    eventually("the write is under way", || names_in(&agent, "/work").len() == 2);
    drop(client);
    eventually("the half is gone", || names_in(&agent, "/work") == ["f"]);
    assert_eq!(other.read("f", Part::Whole).unwrap(), b"old");
}

#[test]
fn many_unfinished_writes_do_not_stop_processes() {
    let (_agent, mut client) = Agent::claimed();
    for number in 0..100 {
        begin_write(&mut client, &format!("f{number}"));
    }
    assert_eq!(client.sh("echo free").text(), "free\n");
}

#[test]
fn a_broken_connection_frees_its_threads() {
    let (agent, mut client) = Agent::claimed();
    fs::File::create(agent.outside("/work/large")).unwrap().set_len(64 << 20).unwrap();
    for _ in 0..200 {
        client.open(&Request::ReadFile(wire::guest::ReadFile { path: "large".into(), part: Part::Whole }));
    }
    client.receive();
    drop(client);
    let mut other = agent.reconnect();
    assert_eq!(other.read("large", Part::Head { lines: 1 }).unwrap().len(), 64 << 20);
}

#[test]
fn a_full_disk_is_told_and_leaves_no_half() {
    if !rustix::process::geteuid().is_root() {
        // A small disk needs a mount, and a mount needs root.
        return;
    }
    let (agent, mut client) = Agent::claimed();
    let small = agent.outside("/small");
    fs::create_dir(&small).unwrap();
    let flags = rustix::mount::MountFlags::NOSUID;
    rustix::mount::mount("none", &small, "tmpfs", flags, c"size=256k").unwrap();
    let result = client.write("/small/big", &bytes_of(2_000_000));
    let names = names_in(&agent, "/small");
    rustix::mount::unmount(&small, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(result.unwrap_err().code, ErrorCode::DiskFull);
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn a_large_file_streams_in_constant_memory() {
    let (agent, mut client) = Agent::claimed();
    let size = 256 << 20;
    fs::File::create(agent.outside("/work/large")).unwrap().set_len(size).unwrap();
    let stream =
        client.open(&Request::ReadFile(wire::guest::ReadFile { path: "large".into(), part: Part::Whole }));
    let (mut arrived, mut largest) = (0, 0);
    loop {
        match client.next(stream) {
            Body::Data(_, bytes) => {
                arrived += bytes.len() as u64;
                client.send(stream, Body::Credit(bytes.len() as u32));
                if arrived % (16 << 20) < bytes.len() as u64 {
                    largest = largest.max(resident_kib(agent.pid()));
                }
            }
            Body::End(_) => break,
            _ => {}
        }
    }
    assert_eq!(arrived, size);
    assert!(largest < 8 * 1024, "the agent grew to {largest} KiB");
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn files_of_proc_are_read_to_their_end() {
    // Below the confined root there is no /proc; a file that says it is empty and is not can be had by a mount alone.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (agent, mut client) = Agent::claimed();
    let path = agent.outside("/work/version");
    fs::write(&path, "").unwrap();
    rustix::mount::mount_bind("/proc/version", &path).unwrap();
    let results = [Part::Whole, Part::Head { lines: 1 }, Part::Tail { lines: 1 }]
        .map(|part| client.read("version", part));
    rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).unwrap();
    for content in results {
        assert_eq!(content.unwrap(), fs::read("/proc/version").unwrap());
    }
}
