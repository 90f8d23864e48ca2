//! Nothing leads out of a confined root.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use wire::guest::{Claim, ErrorCode, Part};

use crate::harness::{Agent, Client, TOKEN, claim};

const OUTSIDE: &[u8] = b"outside";

/// An agent, and a directory next to its root with a file that must not be read or changed.
fn beside_a_secret() -> (Agent, Client, std::path::PathBuf) {
    let (agent, client) = Agent::claimed();
    let outside = agent.outside("/").parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), OUTSIDE).unwrap();
    (agent, client, outside)
}

fn names_in(dir: &std::path::Path) -> Vec<std::ffi::OsString> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn paths_and_links_end_at_the_root() {
    let (agent, mut client, outside) = beside_a_secret();
    symlink(outside.join("secret"), agent.outside("/work/absolute")).unwrap();
    symlink("../../outside/secret", agent.outside("/work/relative")).unwrap();
    symlink(&outside, agent.outside("/work/dir")).unwrap();
    let paths = [
        "../../outside/secret",
        "/../outside/secret",
        "absolute",
        "relative",
        "dir/secret",
        "/proc/self/root/etc/passwd",
    ];
    for path in paths {
        let read = client.read(path, Part::Whole);
        assert_eq!(read.unwrap_err().code, ErrorCode::NotFound, "{path}");
    }
    for path in paths {
        // It may succeed: inside.
        let _ = client.write(path, b"changed");
    }
    assert_eq!(fs::read(outside.join("secret")).unwrap(), OUTSIDE);
    assert_eq!(names_in(&outside), ["secret"]);
}

#[test]
fn a_link_that_is_swapped_meanwhile_leads_nowhere_else() {
    let (agent, mut client, outside) = beside_a_secret();
    let [link, inside, spare] = ["/work/link", "/work/inside", "/work/spare"].map(|path| agent.outside(path));
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("secret"), "inside").unwrap();
    symlink(&outside, &spare).unwrap();
    symlink("inside", &link).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let at = rustix::fs::CWD;
                rustix::fs::renameat_with(at, &link, at, &spare, flags).unwrap();
            }
        });
        for _ in 0..500 {
            if let Ok(content) = client.read("link/secret", Part::Whole) {
                assert_ne!(content, OUTSIDE, "the link led out");
            }
            let _ = client.write("link/secret", b"inside");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read(outside.join("secret")).unwrap(), OUTSIDE);
    assert_eq!(names_in(&outside), ["secret"]);
}

#[test]
fn the_workdir_and_the_users_are_looked_for_inside() {
    let agent = Agent::start();
    symlink("/etc", agent.outside("/etc")).unwrap();
    symlink("..", agent.outside("/up")).unwrap();
    let refused = agent.connect().hello(TOKEN, Some(Claim { user: "daemon".into(), ..claim() })).refused;
    assert!(refused.unwrap().contains("`daemon`"), "the host's users were found");
    let mut client = agent.connect();
    let hello = client.hello(TOKEN, Some(Claim { workdir: "/up/up/here".into(), ..claim() }));
    assert_eq!(hello.refused, None);
    assert!(agent.outside("/here").is_dir());
    let cwd = wire::guest::Exec { cwd: Some("../../..".into()), ..crate::harness::shell("pwd") };
    assert_eq!(client.run(cwd).text().trim_end(), agent.outside("/").to_str().unwrap().trim_end_matches('/'));
}
