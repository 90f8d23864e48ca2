//! What the child has: a directory, and what making any tree takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use artifact::rootfs::layers::{Limits, Unpacker};
use rustix::process::Pid;

use crate::image::{Bench, program};

/// The child that unpacks into this bench.
pub fn children_of(bench: &Bench) -> Vec<Pid> {
    let tree = bench.tree().display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
        read("cmdline").contains(&tree) && read("comm").starts_with("unpacker")
    };
    numbers.filter(is_child).filter_map(Pid::from_raw).collect()
}

fn proc(pid: Pid, what: &str) -> PathBuf {
    Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join(what)
}

#[tokio::test]
async fn the_child_sees_its_tree_and_nothing_else() {
    let bench = Bench::new();
    let unpacker = Unpacker::start(&program(), bench.draft(), Limits::default()).await.unwrap();
    let [pid] = children_of(&bench)[..] else { panic!("not one child") };
    fs::write(bench.tree().join("mark"), "").unwrap();
    assert!(proc(pid, "root/mark").exists(), "its root is another directory");
    let mounts = fs::read_to_string(proc(pid, "mountinfo")).unwrap();
    assert_eq!(mounts.lines().count(), 1, "{mounts}");
    let options = mounts.split_whitespace().nth(5).unwrap();
    assert!(["nosuid", "nodev", "noexec"].iter().all(|option| options.contains(option)), "{options}");
    for namespace in ["mnt", "net", "ipc", "uts", "pid"] {
        let ours = fs::read_link(Path::new("/proc/self/ns").join(namespace)).unwrap();
        let its = fs::read_link(proc(pid, "ns").join(namespace)).unwrap();
        assert_ne!(ours, its, "{namespace}");
    }
    drop(unpacker);
}

#[tokio::test]
async fn the_child_can_do_what_unpacking_takes_and_not_more() {
    let bench = Bench::new();
    let unpacker = Unpacker::start(&program(), bench.draft(), Limits::default()).await.unwrap();
    let [pid] = children_of(&bench)[..] else { panic!("not one child") };
    let status = fs::read_to_string(proc(pid, "status")).unwrap();
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    // chown, dac_override, fowner, fsetid; mknod; setfcap.
    let kept = format!("{:016x}", 0b11011u64 | 1 << 27 | 1 << 31);
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(field(set), kept, "{set}");
    }
    assert_eq!((field("CapInh:"), field("CapAmb:")), ("0".repeat(16), "0".repeat(16)));
    assert_eq!(field("NoNewPrivs:"), "1");
    let descriptors: Vec<PathBuf> = fs::read_dir(proc(pid, "fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap_or_default())
        .collect();
    assert_eq!(descriptors.len(), 4, "its pipes and its root: {descriptors:?}");
    drop(unpacker);
}

#[tokio::test]
async fn the_child_dies_with_who_asked_for_it() {
    let bench = Bench::new();
    let unpacker = Unpacker::start(&program(), bench.draft(), Limits::default()).await.unwrap();
    assert_eq!(children_of(&bench).len(), 1);
    drop(unpacker);
    let gone = async {
        while !children_of(&bench).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the child went on");
}

#[tokio::test]
async fn without_orders_the_program_says_what_it_is() {
    let output = std::process::Command::new(&program()[0]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("a part of the server"), "{said}");
}
