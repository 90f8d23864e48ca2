//! What an agent costs.

use std::fs;

use crate::harness::{Agent, shell};
use wire::guest::Request;

/// Resident memory of an idle agent, in KiB, at most. The same for every sandbox on a host. A binary that nobody has
/// optimised is twice as large.
const RESIDENT_KIB_MAX: u64 = if cfg!(debug_assertions) { 8 * 1024 } else { 5 * 1024 };

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn an_agent_is_small_before_and_after_work() {
    let (agent, mut client) = Agent::claimed();
    let before = resident_kib(agent.pid());
    let script = format!("{}echo done", "# long\n".repeat(700_000));
    let streams: Vec<u32> =
        (0..50).map(|_| client.open(&Request::Exec(shell("head -c 100000 /dev/zero")))).collect();
    for stream in streams {
        assert_eq!(client.ran(stream).unwrap().stdout.len(), 100_000);
    }
    assert_eq!(client.sh(&script).text(), "done\n");
    client.write("f", &vec![7; 10_000_000]).unwrap();
    let after = resident_kib(agent.pid());
    println!("resident: {before} KiB before, {after} KiB after");
    // The binary here is the tests' own build: linked to the C library's shared object, not cut to size.
    assert!(before < RESIDENT_KIB_MAX, "{before} KiB");
    assert!(after < RESIDENT_KIB_MAX + 4 * 1024, "{after} KiB");
}
