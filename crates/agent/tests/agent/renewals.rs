//! What goes on from a checkpoint is made its own again.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use wire::guest::renew::{
    GENERATION_PATH, HOOKS_DIRECTORY, HOOKS_MAX, HookEnd, Renew, RenewKind, Renewed, SAID_BYTES_MAX,
};
use wire::guest::{Done, Error, ErrorCode, Request};

use crate::harness::{Agent, Client, TOKEN, eventually, is_alive, pid_in};

/// The name that every claim of the harness has.
const OLD_NAME: &str = "sandbox";

fn order(kind: RenewKind) -> Renew {
    Renew {
        token: "a1".repeat(32),
        hostname: "renewed".into(),
        wall_ms: 1_700_000_000_000,
        kind,
        entropy: "5c".repeat(32),
    }
}

fn try_renew(client: &mut Client, order: &Renew) -> Result<Renewed, Error> {
    let stream = client.open(&Request::Renew(order.clone()));
    match client.collect(stream).3? {
        Done::Renewed(renewed) => Ok(renewed),
        other => panic!("another answer: {other:?}"),
    }
}

fn renew(client: &mut Client, kind: RenewKind) -> Renewed {
    try_renew(client, &order(kind)).unwrap()
}

fn is_refused(agent: &Agent, token: &str) -> bool {
    agent.connect().hello(token, None).refused.is_some()
}

/// Puts a program there.
fn hook(agent: &Agent, name: &str, script: &str) {
    let directory = agent.outside(HOOKS_DIRECTORY);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(directory.join(name), Permissions::from_mode(0o755)).unwrap();
}

fn names(renewed: &Renewed) -> Vec<&str> {
    renewed.hooks.iter().map(|hook| hook.name.as_str()).collect()
}

#[test]
fn the_old_token_opens_nothing_any_more_and_what_it_opened_is_closed() {
    let (agent, mut first) = Agent::claimed();
    let mut other = agent.reconnect();
    let running = other.open(&Request::Exec(crate::harness::shell("echo $$ > pid; exec sleep 300")));
    let pid = pid_in(&agent.outside("/work/pid"));
    renew(&mut first, RenewKind::Fork);
    eventually("the other connection is closed", || other.receive().is_none());
    eventually("what was under way on it has ended", || !is_alive(pid));
    assert!(running > 0 && is_refused(&agent, TOKEN));
    assert_eq!(first.sh("echo on").text(), "on\n", "who renews it stays");
    let mut next = agent.connect();
    assert_eq!(next.hello(&order(RenewKind::Fork).token, None).refused, None);
    let again = Renew { token: "b2".repeat(32), ..order(RenewKind::Wake) };
    try_renew(&mut next, &again).unwrap();
    assert!(first.is_hung_up());
    assert!(is_refused(&agent, &order(RenewKind::Fork).token));
}

#[test]
fn an_order_that_makes_no_sense_changes_nothing() {
    let (agent, mut client) = Agent::claimed();
    let before = fs::read_to_string(agent.outside(GENERATION_PATH)).unwrap();
    for wrong in [
        Renew { token: "a1".into(), ..order(RenewKind::Wake) },
        Renew { entropy: "5c".into(), ..order(RenewKind::Wake) },
        Renew { entropy: "xy".repeat(32), ..order(RenewKind::Wake) },
    ] {
        assert_eq!(try_renew(&mut client, &wrong).unwrap_err().code, ErrorCode::Invalid);
    }
    assert!(!is_refused(&agent, TOKEN));
    assert_eq!(fs::read_to_string(agent.outside(GENERATION_PATH)).unwrap(), before);
}

#[test]
fn every_generation_has_a_line_of_its_own_that_everybody_may_read() {
    let (agent, mut client) = Agent::claimed();
    let path = agent.outside(GENERATION_PATH);
    let mut seen = vec![fs::read_to_string(&path).unwrap()];
    for kind in [RenewKind::Wake, RenewKind::Restore, RenewKind::Fork] {
        let told = renew(&mut client, kind).generation_id;
        seen.push(fs::read_to_string(&path).unwrap());
        assert_eq!(seen.last().unwrap(), &format!("{told}\n"));
    }
    assert!(seen.iter().all(|line| line.len() == 33), "{seen:?}");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "a generation came twice");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "something was left beside it");
}

#[test]
fn a_copy_takes_on_its_names_one_that_wakes_keeps_them_and_the_host_is_let_alone() {
    let (agent, mut client) = Agent::claimed();
    let etc = agent.outside("/etc");
    fs::create_dir(&etc).unwrap();
    fs::write(etc.join("hostname"), format!("{OLD_NAME}\n")).unwrap();
    let host = rustix::system::uname().nodename().to_owned();
    let woken = renew(&mut client, RenewKind::Wake);
    assert_eq!(fs::read_to_string(etc.join("hostname")).unwrap().trim(), OLD_NAME);
    assert!(!etc.join("machine-id").exists());
    let mut ids = Vec::new();
    for kind in [RenewKind::Restore, RenewKind::Fork] {
        let renewed = renew(&mut client, kind);
        assert_eq!((renewed.clock_stepped_ms, renewed.notes), (0, vec![]));
        ids.push(fs::read_to_string(etc.join("machine-id")).unwrap());
    }
    assert_eq!(fs::read_to_string(etc.join("hostname")).unwrap(), "renewed\n");
    assert_ne!(ids[0], ids[1]);
    assert_eq!((woken.hooks, woken.notes), (vec![], vec![]));
    assert_eq!(rustix::system::uname().nodename(), &*host, "the host was renamed");
}

#[test]
fn programs_are_run_in_the_order_of_their_names_and_told_what_happened() {
    let (agent, mut client) = Agent::claimed();
    hook(&agent, "20-fails", "echo out; echo err >&2; exit 3");
    hook(&agent, "10-tells", "echo $ATOLL_RESTORE_KIND $ATOLL_SANDBOX_ID $ATOLL_GENERATION > told");
    hook(&agent, ".hidden", "exit 1");
    hook(&agent, "30-much", "head -c 100000 /dev/zero | tr '\\0' 'é'; echo end");
    hook(&agent, "40-no-program", "");
    fs::write(agent.outside(HOOKS_DIRECTORY).join("40-no-program"), "\u{1}").unwrap();
    hook(&agent, "README", "exit 1");
    fs::set_permissions(agent.outside(HOOKS_DIRECTORY).join("README"), Permissions::from_mode(0o644))
        .unwrap();
    let renewed = renew(&mut client, RenewKind::Restore);
    assert_eq!(names(&renewed), ["10-tells", "20-fails", "30-much", "40-no-program"]);
    let told = fs::read_to_string(agent.outside("/told")).unwrap();
    assert_eq!(told, format!("restore renewed {}\n", renewed.generation_id));
    let HookEnd { exit_code, said, timed_out, .. } = &renewed.hooks[1];
    assert_eq!((*exit_code, *timed_out), (Some(3), false));
    assert!(said.contains("out") && said.contains("err"), "{said}");
    let much = &renewed.hooks[2].said;
    assert!(much.len() <= SAID_BYTES_MAX && much.ends_with("end\n"), "{much}");
    assert_eq!(renewed.hooks[3].exit_code, None);
    assert!(!renewed.hooks[3].said.is_empty());
    let woken = renew(&mut client, RenewKind::Wake);
    assert_eq!(
        fs::read_to_string(agent.outside("/told")).unwrap(),
        format!("wake renewed {}\n", woken.generation_id)
    );
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_all_it_started_and_the_next_has_its_turn() {
    let (agent, mut client) = Agent::claimed();
    hook(&agent, "10-hangs", "sleep 300 & echo $! > child; echo waiting; wait");
    hook(&agent, "20-next", "true");
    let renewed = renew(&mut client, RenewKind::Wake);
    let hung =
        HookEnd { name: "10-hangs".into(), exit_code: None, timed_out: true, said: "waiting\n".into() };
    assert_eq!(renewed.hooks[0], hung);
    assert_eq!(renewed.hooks[1].exit_code, Some(0));
    let child = pid_in(&agent.outside("/child"));
    eventually("its child is gone", || !is_alive(child));
}

#[test]
fn nothing_is_run_that_others_than_root_could_have_put_there() {
    let (agent, mut client) = Agent::claimed();
    hook(&agent, "10-anybodys", "true");
    hook(&agent, "20-roots", "true");
    let directory = agent.outside(HOOKS_DIRECTORY);
    fs::set_permissions(directory.join("10-anybodys"), Permissions::from_mode(0o777)).unwrap();
    let renewed = renew(&mut client, RenewKind::Wake);
    assert_eq!(names(&renewed), ["20-roots"]);
    assert!(renewed.notes.len() == 1 && renewed.notes[0].contains("10-anybodys"), "{:?}", renewed.notes);
    fs::set_permissions(&directory, Permissions::from_mode(0o1777)).unwrap();
    let renewed = renew(&mut client, RenewKind::Wake);
    assert_eq!(renewed.hooks, []);
    assert!(renewed.notes[0].contains("others than root"), "{:?}", renewed.notes);
}

#[test]
fn only_so_many_are_run() {
    let (agent, mut client) = Agent::claimed();
    (0..HOOKS_MAX + 2).for_each(|number| hook(&agent, &format!("{number:03}"), "true"));
    let renewed = renew(&mut client, RenewKind::Wake);
    assert_eq!(renewed.hooks.len(), HOOKS_MAX);
    assert_eq!(renewed.notes.len(), 1, "{:?}", renewed.notes);
}
