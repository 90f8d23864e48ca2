//! What a sandbox starts with: once, and until it is up or plainly will not be.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::Instant;

use wire::guest::boot::{Boot, Booted, LAST_WORDS_BYTES_MAX, PROCESS_ID, Ready};
use wire::guest::frame::Body;
use wire::guest::process::{ProcessCall, ProcessInfo};
use wire::guest::{Done, Error, ErrorCode, ExecCause, Request};
use wire::sandbox::{HttpProbe, Probe};

use crate::harness::{Agent, Client, PATIENCE, eventually, is_alive, pid_in};

/// Longer than any test is to take.
const LONG_MS: u64 = PATIENCE.as_millis() as u64;

fn order(script: &str, ready: Option<(Probe, u64)>) -> Request {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    Request::Boot(Boot { argv, ready: ready.map(|(probe, timeout_ms)| Ready { probe, timeout_ms }) })
}

fn try_boot(client: &mut Client, request: &Request) -> Result<Booted, Error> {
    let stream = client.open(request);
    match client.collect(stream).3? {
        Done::Booted(booted) => Ok(booted),
        other => panic!("another answer: {other:?}"),
    }
}

fn boot(client: &mut Client, script: &str, ready: Option<(Probe, u64)>) -> Booted {
    try_boot(client, &order(script, ready)).unwrap()
}

fn command(line: &str) -> Probe {
    Probe::Command(line.into())
}

fn info(client: &mut Client) -> ProcessInfo {
    let stream = client.open(&Request::Process(ProcessCall::Get { id: PROCESS_ID.into() }));
    match client.collect(stream).3 {
        Ok(Done::Processes(infos)) => infos.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A port nobody listens on, for now.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Answers with this line, one connection after the other.
fn serve(address: IpAddr, answer: &'static str) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap_or(0);
            assert!(request[..length].starts_with(b"GET /health HTTP/1.1\r\n"), "{:?}", &request[..length]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

#[test]
fn it_starts_once_however_often_that_is_asked() {
    let (agent, mut client) = Agent::claimed();
    let script = "echo x >> starts; echo \"$FROM_CLAIM\"; pwd; cat; exec sleep 300";
    let first = boot(&mut client, script, None);
    assert!(first.is_up && first.end.is_none(), "{first:?}");
    let pid = info(&mut client).pid;
    drop(client);
    let mut client = agent.reconnect();
    boot(&mut client, script, None);
    boot(&mut client, "echo another >> starts", Some((command("test -e starts"), LONG_MS)));
    assert_eq!(info(&mut client).pid, pid);
    assert_eq!(fs::read_to_string(agent.outside("/work/starts")).unwrap(), "x\n");
    let booted = boot(&mut client, script, Some((Probe::Port(free_port()), 100)));
    assert!(!booted.is_up);
    assert!(booted.last_words.starts_with("yes\n") && booted.last_words.ends_with("/work"), "{booted:?}");
}

#[test]
fn a_port_on_either_address_is_enough() {
    for address in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
        let (_agent, mut client) = Agent::claimed();
        let listener = TcpListener::bind((address, 0)).unwrap();
        let probe = Probe::Port(listener.local_addr().unwrap().port());
        let booted = boot(&mut client, "exec sleep 300", Some((probe, LONG_MS)));
        assert_eq!((booted.is_up, booted.tries, booted.last_answer.as_str()), (true, 1, ""), "{booted:?}");
    }
}

#[test]
fn an_http_service_is_up_when_it_answers_well() {
    let cases = [
        (Ipv4Addr::LOCALHOST.into(), "HTTP/1.1 204 No Content\r\n\r\n", None),
        (Ipv6Addr::LOCALHOST.into(), "HTTP/1.0 302 Found\r\n\r\n", None),
        (Ipv4Addr::LOCALHOST.into(), "HTTP/1.1 503 Busy\r\n\r\n", Some("status 503")),
        (Ipv4Addr::LOCALHOST.into(), "220 mail ready\r\n", Some("not HTTP")),
    ];
    for (address, answer, trouble) in cases {
        let (_agent, mut client) = Agent::claimed();
        let probe = Probe::Http(HttpProbe { port: serve(address, answer), path: "/health".into() });
        let timeout_ms = if trouble.is_some() { 200 } else { LONG_MS };
        let booted = boot(&mut client, "exec sleep 300", Some((probe, timeout_ms)));
        assert_eq!(booted.is_up, trouble.is_none(), "{booted:?}");
        assert!(booted.last_answer.contains(trouble.unwrap_or_default()), "{booted:?}");
    }
}

#[test]
fn a_command_is_tried_until_it_succeeds_and_leaves_nothing_running() {
    let (agent, mut client) = Agent::claimed();
    let script = "until test -e tried; do sleep 0.01; done; touch up; exec sleep 300";
    let probe = command("touch tried; echo not yet >&2; test -e up");
    let booted = boot(&mut client, script, Some((probe, LONG_MS)));
    assert!(booted.is_up && booted.tries > 1, "{booted:?}");
    let booted = boot(&mut client, script, Some((command("echo $$ > probe; exec sleep 300"), 500)));
    assert!(!booted.is_up && booted.end.is_none());
    let pid = pid_in(&agent.outside("/work/probe"));
    eventually("the probe is gone", || !is_alive(pid));
    let booted = boot(&mut client, script, Some((command("echo nope >&2; exit 4"), 300)));
    assert_eq!(booted.last_answer, "exit code 4: nope");
}

#[test]
fn one_that_ends_badly_is_given_up_at_once_with_its_last_words() {
    let (_agent, mut client) = Agent::claimed();
    let began = Instant::now();
    let script = "seq 1 10000; echo no configuration >&2; exit 3";
    let booted = boot(&mut client, script, Some((Probe::Port(free_port()), LONG_MS)));
    assert!(began.elapsed() < PATIENCE / 2, "the time that was left was waited out");
    assert_eq!(booted.end.map(|end| end.exit_code), Some(Some(3)));
    assert!(booted.last_words.ends_with("no configuration"), "{}", booted.last_words);
    assert!(booted.last_words.len() <= LAST_WORDS_BYTES_MAX);
    assert!(booted.last_answer.contains("refused"), "{}", booted.last_answer);
}

#[test]
fn one_that_ends_well_may_have_left_the_service_behind() {
    let (_agent, mut client) = Agent::claimed();
    let script = "(sleep 0.5; touch up; exec sleep 300) > /dev/null 2>&1 & exit 0";
    let booted = boot(&mut client, script, Some((command("test -e up"), LONG_MS)));
    assert!(booted.is_up && booted.end.is_some(), "{booted:?}");

    let (_agent, mut client) = Agent::claimed();
    let booted = boot(&mut client, "touch up", Some((command("sleep 0.1; test -e up"), LONG_MS)));
    assert!(booted.is_up, "what it did counts, though it has ended: {booted:?}");

    let (_agent, mut client) = Agent::claimed();
    let booted = boot(&mut client, "exit 0", Some((command("sleep 0.1; false"), LONG_MS)));
    assert!(!booted.is_up && booted.waited_ms < LONG_MS / 2, "nothing was left to wait for: {booted:?}");
}

#[test]
fn what_cannot_be_started_is_an_end_that_says_why() {
    let (_agent, mut client) = Agent::claimed();
    let missing = |ready| Request::Boot(Boot { argv: vec!["nosuch".into(), "-x".into()], ready });
    let booted = try_boot(&mut client, &missing(None)).unwrap();
    assert!(booted.is_up, "nobody asked whether it is");
    assert!(booted.last_words.contains("nosuch"), "{booted:?}");
    let seen = info(&mut client);
    assert_eq!((seen.pid, seen.command.as_str()), (0, "nosuch -x"));
    let end = seen.end.expect("it is no process");
    assert_eq!((end.exit_code, end.signal, end.cause), (None, None, ExecCause::NotStarted));
    let ready = Ready { probe: Probe::Port(free_port()), timeout_ms: LONG_MS };
    let booted = try_boot(&mut client, &missing(Some(ready))).unwrap();
    assert!(!booted.is_up && booted.waited_ms < LONG_MS / 2, "{booted:?}");
}

#[test]
fn a_probe_that_makes_no_sense_is_refused_and_a_cancel_ends_the_waiting_alone() {
    let (_agent, mut client) = Agent::claimed();
    let probe = Probe::Http(HttpProbe { port: 1, path: "/\r\nx: y".into() });
    let refused = try_boot(&mut client, &order("exec sleep 300", Some((probe, 1000)))).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Invalid);
    let stream = client.open(&order("exec sleep 300", Some((Probe::Port(free_port()), LONG_MS))));
    client.send(stream, Body::Cancel);
    assert_eq!(client.collect(stream).3.unwrap_err().code, ErrorCode::Cancelled);
    let seen = info(&mut client);
    assert!(seen.end.is_none() && is_alive(seen.pid));
}
