//! What `/proc` says about processes and memory (`proc(5)`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's number.
    pub parent: i32,
    /// The number of its session.
    pub session: i32,
    /// False if it has ended and waits to be reaped.
    pub is_alive: bool,
    /// Its threads.
    pub threads: u32,
    /// Memory it holds, in pages.
    pub resident_pages: u64,
}

/// The machine's memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// What can be had without killing anything.
    pub available_bytes: u64,
}

/// The process of this number, if there is one.
pub fn process(pid: i32) -> Option<Process> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Every process that descends from this one; itself left out. Empty when `/proc` cannot be read.
pub fn descendants() -> Vec<Process> {
    let own = std::process::id() as i32;
    let all: BTreeMap<i32, Process> =
        pids().into_iter().filter_map(process).map(|process| (process.pid, process)).collect();
    let mut ours = BTreeSet::from([own]);
    // Children are mostly younger than their parents, so nearly all are found on the first way through.
    loop {
        let before = ours.len();
        for process in all.values() {
            if ours.contains(&process.parent) {
                ours.insert(process.pid);
            }
        }
        if ours.len() == before {
            break;
        }
    }
    all.into_values().filter(|process| process.pid != own && ours.contains(&process.pid)).collect()
}

/// The memory of the machine; zeros when `/proc` cannot be read.
pub fn memory() -> Memory {
    fs::read_to_string("/proc/meminfo").map(|text| parse_meminfo(&text)).unwrap_or_default()
}

/// Memory this process holds, in bytes; 0 when `/proc` cannot be read.
pub fn own_resident_bytes() -> u64 {
    process(std::process::id() as i32).map_or(0, |own| own.resident_pages * page_bytes())
}

/// Bytes of one page.
pub fn page_bytes() -> u64 {
    // SAFETY: reads one number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // Never fails on Linux.
    u64::try_from(bytes).unwrap_or(4096)
}

/// The numbers of all processes there are.
pub fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The second field is the program's name in parentheses and may hold anything, so fields are counted after the last `)`.
fn parse_stat(text: &str) -> Option<Process> {
    let pid = text.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        is_alive: !matches!(*fields.first()?, "Z" | "X"),
        threads: fields.get(17)?.parse().ok()?,
        resident_pages: fields.get(21)?.parse().ok()?,
    })
}

fn parse_meminfo(text: &str) -> Memory {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0).saturating_mul(1024)
    };
    Memory { total_bytes: bytes("MemTotal"), available_bytes: bytes("MemAvailable") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_disguise_the_fields_after_it() {
        let text = "42 (a) R 9 9) (x) S 7 42 40 0 -1 4 1 0 0 0 5 6 0 0 20 0 3 0 100 8192 55 1844 1 1\n";
        let process = parse_stat(text).unwrap();
        let expected =
            Process { pid: 42, parent: 7, session: 40, is_alive: true, threads: 3, resident_pages: 55 };
        assert_eq!(process, expected);
        assert_eq!(parse_stat("42 (cut) S 7"), None);
    }

    #[test]
    fn meminfo_is_in_kib() {
        let memory = parse_meminfo("MemTotal:  1000 kB\nMemAvailableX: 1 kB\nMemAvailable:\t 12 kB\n");
        assert_eq!(memory, Memory { total_bytes: 1_024_000, available_bytes: 12 * 1024 });
        assert_eq!(parse_meminfo("nonsense"), Memory::default());
    }

    #[test]
    fn a_child_is_a_descendant_until_it_is_reaped() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let is_ours = |pid: u32| descendants().iter().any(|process| process.pid == pid as i32);
        assert!(is_ours(child.id()));
        assert!(!is_ours(std::process::id()), "nobody descends from himself");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_ours(child.id()));
    }
}
