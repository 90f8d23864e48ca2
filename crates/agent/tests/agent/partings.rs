//! Streams that end because the machine is about to be stopped, and are gone on with.

use std::fs;

use wire::guest::frame::{Body, Channel};
use wire::guest::part::{Parted, Rejoin};
use wire::guest::process::ProcessCall;
use wire::guest::renew::{Renew, RenewKind};
use wire::guest::{Done, ErrorCode, Exec, ExecCause, Head, Outcome, Request};

use crate::harness::{Agent, Client, argv, eventually, is_alive, shell};

/// What one stream said before it was parted from.
struct Before {
    head: Option<Head>,
    said: Vec<u8>,
    parted: Parted,
}

/// Has the agent part from a stream, and hangs up.
fn part(mut client: Client, stream: u32) -> Before {
    let pause = client.open(&Request::Pause { rejoinable: true });
    let (head, said, _, outcome) = client.collect(stream);
    let parted = match outcome {
        Ok(Done::Parted(parted)) => parted,
        other => panic!("it was not parted from: {other:?}"),
    };
    assert_eq!(client.collect(pause).3, Ok(Done::Nothing));
    Before { head, said, parted }
}

fn rejoin(client: &mut Client, parted: &Parted) -> u32 {
    client.open(&Request::Rejoin(Rejoin { ticket: parted.ticket, input: parted.input }))
}

/// What comes of a ticket that is good no more.
fn is_too_late(client: &mut Client, parted: &Parted) -> bool {
    let stream = rejoin(client, parted);
    client.collect(stream).3.is_err_and(|error| error.code == ErrorCode::Cancelled)
}

fn exited(outcome: Outcome) -> (Option<i32>, ExecCause) {
    match outcome {
        Ok(Done::Exec(end)) => (end.exit_code, end.cause),
        other => panic!("no end of a process: {other:?}"),
    }
}

/// The first Data of a stream, and what came before.
fn first_words(client: &mut Client, stream: u32) -> (Head, Vec<u8>) {
    let Body::Head(head) = client.next(stream) else { panic!("no head") };
    let Body::Data(_, bytes) = client.next(stream) else { panic!("no data") };
    client.send(stream, Body::Credit(bytes.len() as u32));
    (serde_json::from_slice(&head).unwrap(), bytes.to_vec())
}

#[test]
fn nothing_is_left_out_and_nothing_comes_twice_however_often_it_is_parted_from() {
    let (agent, mut client) = Agent::claimed();
    // Many times of what is kept when nobody listens.
    let mut stream = client.open(&Request::Exec(shell("seq 1 900000; echo err >&2; exit 7")));
    let (_, mut said) = first_words(&mut client, stream);
    for _ in 0..5 {
        let Body::Data(_, bytes) = client.next(stream) else { panic!("no data") };
        said.extend_from_slice(&bytes);
        let before = part(client, stream);
        assert_eq!(before.head, None, "it comes once");
        said.extend(before.said);
        client = agent.reconnect();
        stream = rejoin(&mut client, &before.parted);
    }
    let (head, rest, errors, outcome) = client.collect(stream);
    said.extend(rest);
    let expected: String = (1..=900_000).map(|number| format!("{number}\n")).collect();
    assert!(said == expected.as_bytes(), "{} bytes, not {}", said.len(), expected.len());
    assert_eq!((head, errors, exited(outcome)), (None, b"err\n".to_vec(), (Some(7), ExecCause::Itself)));
}

#[test]
fn what_ended_while_nobody_was_there_is_told_with_its_last_words() {
    let (agent, mut client) = Agent::claimed();
    let stream =
        client.open(&Request::Exec(shell("echo $$; until test -e go; do sleep 0.01; done; echo on; exit 5")));
    let (Head::Process { pid }, _) = first_words(&mut client, stream) else { panic!("another head") };
    let before = part(client, stream);
    fs::write(agent.outside("/work/go"), "").unwrap();
    eventually("it has ended", || !is_alive(pid));
    let mut client = agent.reconnect();
    let stream = rejoin(&mut client, &before.parted);
    let (_, said, _, outcome) = client.collect(stream);
    assert_eq!((said, exited(outcome)), (b"on\n".to_vec(), (Some(5), ExecCause::Itself)));
    assert!(is_too_late(&mut client, &before.parted), "a ticket is good once");
}

#[test]
fn input_goes_on_behind_the_last_byte_that_was_received() {
    let (agent, mut client) = Agent::claimed();
    let stream = client
        .open(&Request::Exec(Exec { stdin: true, ..shell("until test -e go; do sleep 0.01; done; cat") }));
    let Body::Head(_) = client.next(stream) else { panic!("no head") };
    let input: Vec<u8> = (0..700_000u32).map(|number| (number % 251) as u8).collect();
    // More than a pipe holds, so that some is on its way.
    let sent = 200_000;
    for piece in input[..sent].chunks(50_000) {
        client.send(stream, Body::Data(Channel::Stdin, piece.to_vec().into()));
    }
    let before = part(client, stream);
    assert_eq!((before.parted.received, before.parted.input), (sent as u64, true));
    fs::write(agent.outside("/work/go"), "").unwrap();
    let mut client = agent.reconnect();
    let stream = rejoin(&mut client, &before.parted);
    let feeding = client.feed(stream, &input[sent..]);
    feeding.expect("it takes all of it");
    let (_, said, _, outcome) = client.collect(stream);
    assert!(said == input, "{} bytes came back of {}", said.len(), input.len());
    assert_eq!(exited(outcome).0, Some(0));
}

#[test]
fn input_that_had_ended_has_ended() {
    let (agent, mut client) = Agent::claimed();
    let wait = "until test -e go; do sleep 0.01; done; cat; echo end";
    let stream = client.open(&Request::Exec(Exec { stdin: true, ..shell(wait) }));
    let Body::Head(_) = client.next(stream) else { panic!("no head") };
    client.send(stream, Body::Data(Channel::Stdin, "all of it\n".into()));
    client.send(stream, Body::Eof(Channel::Stdin));
    let before = part(client, stream);
    assert_eq!((before.parted.received, before.parted.input), (10, false));
    fs::write(agent.outside("/work/go"), "").unwrap();
    let mut client = agent.reconnect();
    let stream = rejoin(&mut client, &before.parted);
    assert_eq!(client.collect(stream).1, b"all of it\nend\n");
}

#[test]
fn whoever_has_come_back_ends_it_as_before() {
    let (agent, mut client) = Agent::claimed();
    let stream = client.open(&Request::Exec(shell("echo $$; sleep 300")));
    first_words(&mut client, stream);
    let before = part(client, stream);
    let mut client = agent.reconnect();
    let stream = rejoin(&mut client, &before.parted);
    client.send(stream, Body::Cancel);
    assert_eq!(exited(client.collect(stream).3), (None, ExecCause::Cancelled));
    let timed = Exec { timeout_ms: Some(1500), ..shell("echo begun; sleep 300") };
    let stream = client.open(&Request::Exec(timed));
    first_words(&mut client, stream);
    let before = part(client, stream);
    let mut client = agent.reconnect();
    let stream = rejoin(&mut client, &before.parted);
    assert_eq!(exited(client.collect(stream).3), (None, ExecCause::Timeout), "its time goes on");
}

#[test]
fn a_listener_of_a_process_with_an_id_goes_on_too_and_leaves_without_ending_it() {
    let (agent, mut client) = Agent::claimed();
    let exec = Exec {
        id: Some("kept".into()),
        ..shell("echo one; until test -e go; do sleep 0.01; done; echo two")
    };
    let stream = client.open(&Request::Exec(exec));
    let (head, _) = first_words(&mut client, stream);
    assert!(matches!(head, Head::Attached { from: 0, .. }));
    let before = part(client, stream);
    let mut client = agent.reconnect();
    let first = rejoin(&mut client, &before.parted);
    client.send(first, Body::Cancel);
    assert_eq!(client.collect(first).3.unwrap_err().code, ErrorCode::Cancelled);
    let attach = Request::Process(ProcessCall::Attach { id: "kept".into(), from: 1 });
    let stream = client.open(&attach);
    let Body::Head(_) = client.next(stream) else { panic!("no head") };
    let before = part(client, stream);
    fs::write(agent.outside("/work/go"), "").unwrap();
    let mut client = agent.reconnect();
    let stream = rejoin(&mut client, &before.parted);
    let (head, said, _, outcome) = client.collect(stream);
    assert_eq!((head, said, exited(outcome).0), (None, b"two\n".to_vec(), Some(0)));
}

#[test]
fn a_copy_waits_for_nobody() {
    let (agent, mut client) = Agent::claimed();
    let streams = [0, 1].map(|_| client.open(&Request::Exec(argv(&["sleep", "300"]))));
    streams.iter().for_each(|stream| assert!(matches!(client.next(*stream), Body::Head(_))));
    let before = part(client, streams[0]);
    let mut client = agent.reconnect();
    let order = |kind| Renew {
        token: crate::harness::TOKEN.into(),
        hostname: "sandbox".into(),
        wall_ms: 0,
        kind,
        entropy: "5c".repeat(32),
    };
    let woken = client.open(&Request::Renew(order(RenewKind::Wake)));
    client.collect(woken).3.unwrap();
    let stream = rejoin(&mut client, &before.parted);
    client.send(stream, Body::Cancel);
    assert_eq!(exited(client.collect(stream).3).1, ExecCause::Cancelled);
    let forked = client.open(&Request::Renew(order(RenewKind::Fork)));
    client.collect(forked).3.unwrap();
    let other = Parted { ticket: before.parted.ticket + 1, ..before.parted };
    assert!(is_too_late(&mut client, &other));
}
