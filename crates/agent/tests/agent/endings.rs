//! Who ends processes, and what becomes of those they started.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use wire::guest::frame::Body;
use wire::guest::{Claim, Done, ErrorCode, Exec, ExecCause, Request};

use crate::harness::{Agent, PATIENCE, argv, children, claim, eventually, is_alive, pid_in, shell};

/// Starts a child in a job of its own, one in the background, and waits.
const FAMILY: &str = "set -m; sleep 300 & echo $! > job; set +m; sleep 300 & echo $! > child; wait";

#[test]
fn a_timeout_ends_the_group_and_the_session() {
    let (agent, mut client) = Agent::claimed();
    let ran = client.run(Exec { timeout_ms: Some(700), ..shell(FAMILY) });
    assert_eq!((ran.end.exit_code, ran.end.signal, ran.end.cause), (None, Some(9), ExecCause::Timeout));
    for name in ["/work/job", "/work/child"] {
        let pid = pid_in(&agent.outside(name));
        eventually("the process is gone", || !is_alive(pid));
    }
}

#[test]
fn what_was_said_before_the_timeout_arrives() {
    let (_agent, mut client) = Agent::claimed();
    let ran = client.run(Exec { timeout_ms: Some(500), ..shell("echo early; sleep 300; echo late") });
    assert_eq!((ran.text().as_str(), ran.end.cause), ("early\n", ExecCause::Timeout));
}

#[test]
fn a_timeout_does_not_wait_for_a_slow_reader() {
    let (_agent, mut client) = Agent::claimed();
    let stream = client.open(&Request::Exec(Exec { timeout_ms: Some(300), ..argv(&["cat", "/dev/zero"]) }));
    let Body::Head(_) = client.next(stream) else { panic!("no head") };
    eventually("the process is killed", || children_of_agent_are_gone(&_agent));
    let (_, _, _, outcome) = client.collect(stream);
    let Ok(Done::Exec(end)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(end.cause, ExecCause::Timeout);
}

fn children_of_agent_are_gone(agent: &Agent) -> bool {
    children(agent.pid()).is_empty()
}

#[test]
fn a_cancel_ends_the_process_and_the_stream() {
    let (agent, mut client) = Agent::claimed();
    let stream = client.open(&Request::Exec(shell(FAMILY)));
    // Cancelled before it is known to run, it would end as a request that was never carried out.
    let Body::Head(_) = client.next(stream) else { panic!("no head") };
    let child = pid_in(&agent.outside("/work/child"));
    client.send(stream, Body::Cancel);
    let (_, _, _, outcome) = client.collect(stream);
    let Ok(Done::Exec(end)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((end.signal, end.cause), (Some(9), ExecCause::Cancelled));
    eventually("the child is gone", || !is_alive(child));
    client.send(stream, Body::Cancel);
    assert_eq!(client.sh("echo on").text(), "on\n", "a late Cancel is no harm");
}

#[test]
fn a_broken_connection_ends_its_processes_and_no_others() {
    let (agent, mut client) = Agent::claimed();
    let mut other = agent.reconnect();
    let kept = other.open(&Request::Exec(shell("echo $$ > kept; sleep 300")));
    client.open(&Request::Exec(shell(FAMILY)));
    let (child, kept_pid) = (pid_in(&agent.outside("/work/child")), pid_in(&agent.outside("/work/kept")));
    drop(client);
    eventually("the child is gone", || !is_alive(child));
    assert!(is_alive(kept_pid), "another connection's process was killed");
    other.send(kept, Body::Cancel);
    assert_eq!(other.ran(kept).unwrap().end.cause, ExecCause::Cancelled);
}

#[test]
fn many_requests_cancelled_before_they_start_leave_nothing() {
    let (agent, mut client) = Agent::claimed();
    let streams: Vec<u32> = (0..100).map(|_| client.open(&Request::Exec(shell("sleep 300")))).collect();
    for stream in &streams {
        client.send(*stream, Body::Cancel);
    }
    for stream in streams {
        match client.collect(stream).3 {
            Ok(Done::Exec(end)) => assert_eq!(end.cause, ExecCause::Cancelled),
            Err(error) => assert_eq!(error.code, ErrorCode::Cancelled),
            other => panic!("{other:?}"),
        }
    }
    eventually("nothing is left", || children_of_agent_are_gone(&agent));
}

#[test]
fn orphans_are_reaped() {
    let (agent, mut client) = Agent::claimed();
    // Each shell leaves a child behind that ends later, as the agent's.
    for _ in 0..20 {
        client.sh("(sleep 0.1; exit 4) & exit 0");
    }
    eventually("every zombie is reaped", || children_of_agent_are_gone(&agent));
    assert_eq!(client.status().processes, 0);
}

#[test]
fn sigterm_ends_everything_and_then_the_agent() {
    let (mut agent, mut client) = Agent::claimed();
    client.open(&Request::Exec(shell("setsid sleep 300 & echo $! > far; sleep 300")));
    let far = pid_in(&agent.outside("/work/far"));
    assert!(agent.terminate().success());
    eventually("even a session of its own is gone", || !is_alive(far));
}

#[test]
fn an_agent_that_dies_takes_its_processes_along() {
    let (agent, mut client) = Agent::claimed();
    client.open(&Request::Exec(shell("echo $$ > pid; exec sleep 300")));
    let pid = pid_in(&agent.outside("/work/pid"));
    let agent_pid = Pid::from_raw(agent.pid() as i32).unwrap();
    rustix::process::kill_process(agent_pid, Signal::KILL).unwrap();
    eventually("the process is gone", || !is_alive(pid));
}

/// More than any machine has: the guard sees a shortage at once, and kills what it finds.
fn short_of_memory() -> Claim {
    Claim { memory_reserve_bytes: u64::MAX / 2, ..claim() }
}

/// Holds some 60 MB, more than anything beside it.
const HOG: &str = "awk 'BEGIN { while (length(x = x \"........\") < 2000000); for (;;) n++ }'";

#[test]
fn the_largest_process_is_killed_for_memory() {
    let (_agent, mut client) = Agent::claimed_with(short_of_memory());
    let ran =
        client.run(Exec { timeout_ms: Some(PATIENCE.as_millis() as u64), ..shell(&format!("exec {HOG}")) });
    assert_eq!((ran.end.signal, ran.end.cause), (Some(9), ExecCause::OutOfMemory));
    assert!(client.status().memory_kills >= 1);
}

#[test]
fn a_shell_whose_command_is_killed_for_memory_is_out_of_memory() {
    let (_agent, mut client) = Agent::claimed_with(short_of_memory());
    let ran = client.sh(&format!("{HOG}; exit $?"));
    assert_eq!(ran.end.cause, ExecCause::OutOfMemory);
}

#[test]
fn a_guard_without_a_reserve_kills_nothing() {
    let (_agent, mut client) = Agent::claimed();
    let began = Instant::now();
    assert_eq!(client.sh("sleep 1.2; echo alive").text(), "alive\n");
    assert!(began.elapsed() > Duration::from_secs(1));
    assert_eq!(client.status().memory_kills, 0);
}
