//! Processes with an id: they outlive whoever started them, and nobody who listens misses anything.

use wire::guest::frame::{Body, Channel, DATA_BYTES_MAX, INITIAL_CREDIT_BYTES};
use wire::guest::process::{ENDED_MAX, KEPT_BYTES_MAX, ProcessCall, ProcessInfo};
use wire::guest::{Done, Error, ErrorCode, Exec, ExecCause, ExecEnd, Head, Outcome, Request};

use crate::harness::{Agent, Client, argv, eventually, is_alive, pid_in, shell};

/// What one listener was told.
struct Heard {
    pid: u32,
    from: u64,
    pieces: Vec<(Channel, Vec<u8>)>,
    outcome: Outcome,
}

impl Heard {
    fn said(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    fn end(&self) -> ExecEnd {
        match &self.outcome {
            Ok(Done::Exec(end)) => end.clone(),
            other => panic!("no end of a process: {other:?}"),
        }
    }
}

fn kept(id: &str, exec: Exec) -> Request {
    Request::Exec(Exec { id: Some(id.into()), ..exec })
}

fn attach(id: &str, from: u64) -> Request {
    Request::Process(ProcessCall::Attach { id: id.into(), from })
}

fn attached(client: &mut Client, stream: u32) -> (u32, u64) {
    match client.next(stream) {
        Body::Head(json) => match serde_json::from_slice(&json).unwrap() {
            Head::Attached { pid, from } => (pid, from),
            other => panic!("another head: {other:?}"),
        },
        Body::End(json) => panic!("no head: {}", String::from_utf8_lossy(&json)),
        other => panic!("no head: {other:?}"),
    }
}

/// Listens to the end, granting more as it comes.
fn hear(client: &mut Client, stream: u32) -> Heard {
    let (pid, from) = attached(client, stream);
    let mut pieces = Vec::new();
    loop {
        match client.next(stream) {
            Body::Data(channel, bytes) => {
                client.send(stream, Body::Credit(bytes.len() as u32));
                pieces.push((channel, bytes.to_vec()));
            }
            Body::End(json) => {
                return Heard { pid, from, pieces, outcome: serde_json::from_slice(&json).unwrap() };
            }
            other => panic!("an agent does not say {other:?} here"),
        }
    }
}

fn ask(client: &mut Client, call: ProcessCall) -> Result<Done, Error> {
    let stream = client.open(&Request::Process(call));
    client.collect(stream).3
}

fn info(client: &mut Client, id: &str) -> ProcessInfo {
    match ask(client, ProcessCall::Get { id: id.into() }) {
        Ok(Done::Processes(infos)) => infos.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn wait(client: &mut Client, id: &str) -> ExecEnd {
    match ask(client, ProcessCall::Wait { id: id.into() }) {
        Ok(Done::Exec(end)) => end,
        other => panic!("{other:?}"),
    }
}

fn signal(client: &mut Client, id: &str, signal: i32) -> Result<Done, Error> {
    ask(client, ProcessCall::Signal { id: id.into(), signal })
}

/// Starts it, and leaves once it runs.
fn start_and_leave(client: &mut Client, id: &str, exec: Exec) -> u32 {
    let stream = client.open(&kept(id, exec));
    let (pid, _) = attached(client, stream);
    client.send(stream, Body::Cancel);
    loop {
        if let Body::End(_) = client.next(stream) {
            return pid;
        }
    }
}

#[test]
fn a_process_outlives_its_stream_and_its_connection() {
    let (agent, mut client) = Agent::claimed();
    let script = "echo one; while ! test -e go; do sleep 0.01; done; echo two; exit 3";
    let pid = start_and_leave(&mut client, "a", shell(script));
    drop(client);
    let mut client = agent.reconnect();
    assert!(is_alive(pid));
    let running = info(&mut client, "a");
    assert_eq!((running.pid, running.command.as_str(), running.end), (pid, script, None));
    let stream = client.open(&attach("a", 0));
    std::fs::write(agent.outside("/work/go"), "").unwrap();
    let heard = hear(&mut client, stream);
    assert_eq!((heard.pid, heard.from), (pid, 0));
    assert_eq!(heard.said(), b"one\ntwo\n");
    assert_eq!((heard.end().exit_code, heard.end().cause), (Some(3), ExecCause::Itself));
    let ended = info(&mut client, "a");
    assert_eq!(ended.end, Some(heard.end()));
    assert!(ended.ended_at_ms >= Some(ended.started_at_ms));
    assert_eq!(wait(&mut client, "a"), heard.end(), "an end is told again and again");
}

#[test]
fn a_listener_that_comes_back_goes_on_where_it_was() {
    let (agent, mut client) = Agent::claimed();
    let lines = 200_000;
    let script = format!("seq 1 {lines}; echo done >&2");
    let stream = client.open(&kept("count", shell(&script)));
    let (_, mut next) = attached(&mut client, stream);
    let (mut said, mut unacknowledged) = (Vec::new(), 0);
    // Takes a little, loses its connection, comes back for the next piece.
    while said.len() < 300_000 {
        let Body::Data(_, bytes) = client.next(stream) else { panic!("it ended early") };
        said.extend_from_slice(&bytes);
        unacknowledged += bytes.len() as u32;
        next += 1;
        if unacknowledged > INITIAL_CREDIT_BYTES / 2 {
            client.send(stream, Body::Credit(std::mem::take(&mut unacknowledged)));
        }
    }
    drop(client);
    let mut client = agent.reconnect();
    let stream = client.open(&attach("count", next));
    let heard = hear(&mut client, stream);
    assert_eq!(heard.from, next);
    let (errors, output): (Vec<_>, Vec<_>) =
        heard.pieces.into_iter().partition(|(channel, _)| *channel == Channel::Stderr);
    said.extend(output.into_iter().flat_map(|(_, bytes)| bytes));
    let expect: String = (1..=lines).map(|line| format!("{line}\n")).collect();
    assert!(said == expect.as_bytes(), "something was lost or came twice");
    assert_eq!(errors, [(Channel::Stderr, b"done\n".to_vec())]);
}

#[test]
fn without_listeners_it_never_waits_and_the_oldest_is_forgotten() {
    let (_agent, mut client) = Agent::claimed();
    start_and_leave(&mut client, "loud", shell("head -c 5000000 /dev/zero; echo last"));
    assert_eq!(wait(&mut client, "loud").exit_code, Some(0));
    let ended = info(&mut client, "loud");
    assert!(ended.first_piece > 0, "{ended:?}");
    let stream = client.open(&attach("loud", 0));
    let heard = hear(&mut client, stream);
    assert_eq!(heard.from, ended.first_piece);
    assert_eq!(heard.pieces.len() as u64, ended.next_piece - ended.first_piece);
    let said = heard.said();
    assert!(
        said.len() <= KEPT_BYTES_MAX && said.len() > KEPT_BYTES_MAX - 2 * DATA_BYTES_MAX,
        "{}",
        said.len()
    );
    assert!(said.ends_with(b"\0last\n"));
    assert!(client.status().agent_resident_bytes < 32 << 20);
}

#[test]
fn a_process_waits_for_its_slowest_listener_and_each_hears_everything() {
    let (agent, mut client) = Agent::claimed();
    let total = 4 << 20;
    let script =
        format!("while ! test -e go; do sleep 0.01; done; head -c {total} /dev/zero; touch said-all");
    let first = client.open(&kept("a", shell(&script)));
    attached(&mut client, first);
    let mut other = agent.reconnect();
    let quick = other.open(&attach("a", 0));
    attached(&mut other, quick);
    std::fs::write(agent.outside("/work/go"), "").unwrap();
    // The first one takes nothing: credit and ring fill up, and the process stands still.
    let mut quick_bytes = 0;
    while quick_bytes < KEPT_BYTES_MAX / 2 {
        let Body::Data(_, bytes) = other.next(quick) else { panic!("it ended early") };
        quick_bytes += bytes.len();
        other.send(quick, Body::Credit(bytes.len() as u32));
    }
    assert!(!agent.outside("/work/said-all").exists(), "nobody waited for the slow one");
    let rest = std::thread::spawn(move || other.collect(quick));
    let mut slow_bytes = 0;
    loop {
        match client.next(first) {
            Body::Data(_, bytes) => {
                slow_bytes += bytes.len();
                client.send(first, Body::Credit(bytes.len() as u32));
            }
            Body::End(_) => break,
            other => panic!("{other:?}"),
        }
    }
    let (_, rest, _, outcome) = rest.join().unwrap();
    assert!(matches!(outcome, Ok(Done::Exec(_))));
    assert_eq!((slow_bytes, quick_bytes + rest.len()), (total, total));
}

#[test]
fn input_comes_from_whoever_has_the_id() {
    let (agent, mut client) = Agent::claimed();
    let stream = client.open(&kept("cat", Exec { stdin: true, ..argv(&["cat"]) }));
    attached(&mut client, stream);
    let mut other = agent.reconnect();
    for (text, close) in [("one ", false), ("two", true)] {
        assert!(info(&mut other, "cat").stdin);
        let input = other.open(&Request::Process(ProcessCall::Input { id: "cat".into(), close }));
        other.feed(input, text.as_bytes()).unwrap();
        assert_eq!(other.collect(input).3, Ok(Done::Write { bytes: text.len() as u64 }));
    }
    let (_, said, _, outcome) = client.collect(stream);
    assert_eq!(said, b"one two");
    assert!(matches!(outcome, Ok(Done::Exec(ExecEnd { exit_code: Some(0), .. }))), "{outcome:?}");
    let late = ask(&mut other, ProcessCall::Input { id: "cat".into(), close: true });
    assert_eq!(late.unwrap_err().code, ErrorCode::WrongState);
}

#[test]
fn input_that_nobody_reads_or_wants_is_refused() {
    let (_agent, mut client) = Agent::claimed();
    start_and_leave(&mut client, "none", shell("sleep 300"));
    let refused = ask(&mut client, ProcessCall::Input { id: "none".into(), close: false }).unwrap_err();
    assert_eq!(refused.code, ErrorCode::WrongState, "{refused}");
    start_and_leave(&mut client, "deaf", Exec { stdin: true, ..shell("exec sleep 300 <&-") });
    eventually("the pipe is closed", || {
        let input = client.open(&Request::Process(ProcessCall::Input { id: "deaf".into(), close: false }));
        let outcome = match client.feed(input, b"hello") {
            Ok(()) => client.collect(input).3,
            Err(early) => *early,
        };
        matches!(outcome, Err(error) if error.code == ErrorCode::WrongState)
    });
    // A writer that waits for a reader is told of the end.
    start_and_leave(&mut client, "busy", Exec { stdin: true, ..shell("sleep 300") });
    let input = client.open(&Request::Process(ProcessCall::Input { id: "busy".into(), close: false }));
    client.send(input, Body::Data(Channel::Stdin, vec![0; DATA_BYTES_MAX].into()));
    client.send(input, Body::Data(Channel::Stdin, vec![0; DATA_BYTES_MAX].into()));
    signal(&mut client, "busy", 9).unwrap();
    assert_eq!(client.collect(input).3.unwrap_err().code, ErrorCode::WrongState);
}

#[test]
fn a_signal_reaches_the_group_while_its_leader_lives_and_nobody_afterwards() {
    let (agent, mut client) = Agent::claimed();
    // The child says its number when it is a program: a shell just forked may lose a signal it has a trap for.
    let script = "trap 'echo caught; exit 4' TERM; sh -c 'echo $$ > child; exec sleep 300' & wait";
    let stream = client.open(&kept("a", shell(script)));
    attached(&mut client, stream);
    let child = pid_in(&agent.outside("/work/child"));
    assert_eq!(signal(&mut client, "a", 15), Ok(Done::Nothing));
    let (_, said, _, outcome) = client.collect(stream);
    assert_eq!(said, b"caught\n");
    assert!(matches!(outcome, Ok(Done::Exec(ExecEnd { exit_code: Some(4), .. }))), "{outcome:?}");
    eventually("the child was signalled too", || !is_alive(child));
    assert_eq!(signal(&mut client, "a", 15).unwrap_err().code, ErrorCode::WrongState);
    start_and_leave(&mut client, "b", shell("sleep 300"));
    for number in [0, -1, 65, i32::MIN] {
        assert_eq!(signal(&mut client, "b", number).unwrap_err().code, ErrorCode::Invalid, "{number}");
    }
    signal(&mut client, "b", 9).unwrap();
    let end = wait(&mut client, "b");
    assert_eq!((end.signal, end.cause), (Some(9), ExecCause::Itself));
}

#[test]
fn a_time_limit_holds_when_nobody_listens() {
    let (agent, mut client) = Agent::claimed();
    let exec = Exec { timeout_ms: Some(300), ..shell("sleep 300 & echo $! > child; wait") };
    start_and_leave(&mut client, "a", exec);
    let end = wait(&mut client, "a");
    assert_eq!((end.signal, end.cause), (Some(9), ExecCause::Timeout));
    let child = pid_in(&agent.outside("/work/child"));
    eventually("the child is gone", || !is_alive(child));
}

#[test]
fn what_is_forgotten_is_killed_and_its_id_is_free() {
    let (agent, mut client) = Agent::claimed();
    let stream = client.open(&kept("a", shell("sleep 300 & echo $! > child; wait")));
    let (pid, _) = attached(&mut client, stream);
    let child = pid_in(&agent.outside("/work/child"));
    let twice = client.open(&kept("a", shell("true")));
    assert_eq!(client.collect(twice).3.unwrap_err().code, ErrorCode::AlreadyExists);
    assert_eq!(ask(&mut client, ProcessCall::Forget { id: "a".into() }), Ok(Done::Nothing));
    assert!(!is_alive(pid));
    eventually("the child is gone", || !is_alive(child));
    let Ok(Done::Exec(end)) = client.collect(stream).3 else { panic!("no end") };
    assert_eq!((end.signal, end.cause), (Some(9), ExecCause::Cancelled));
    for call in [
        ProcessCall::Get { id: "a".into() },
        ProcessCall::Forget { id: "a".into() },
        ProcessCall::Wait { id: "a".into() },
        ProcessCall::Attach { id: "a".into(), from: 0 },
    ] {
        assert_eq!(ask(&mut client, call).unwrap_err().code, ErrorCode::NotFound);
    }
    start_and_leave(&mut client, "a", shell("true"));
}

#[test]
fn a_child_that_holds_the_pipes_does_not_hold_the_end() {
    let (agent, mut client) = Agent::claimed();
    let stream =
        client.open(&kept("a", shell("(sleep 1; seq 1 100000; touch survived; sleep 60) & echo parent")));
    let heard = hear(&mut client, stream);
    assert_eq!((heard.said(), heard.end().exit_code), (b"parent\n".to_vec(), Some(0)));
    eventually("the child goes on", || agent.outside("/work/survived").exists());
}

#[test]
fn the_table_is_in_the_order_of_starts_and_remembers_so_many_ends() {
    let (_agent, mut client) = Agent::claimed();
    start_and_leave(&mut client, "living", shell("sleep 300"));
    for number in 0..ENDED_MAX + 6 {
        let id = format!("n{number}");
        let stream = client.open(&kept(&id, shell("true")));
        hear(&mut client, stream);
    }
    let Ok(Done::Processes(all)) = ask(&mut client, ProcessCall::List) else { panic!("no list") };
    let ids: Vec<_> = all.iter().map(|info| info.id.as_str()).collect();
    assert_eq!((ids[0], ids[1], ids.len()), ("living", "n6", ENDED_MAX + 1));
    assert!(all.is_sorted_by_key(|info| info.started_at_ms));
}

#[test]
fn rings_take_memory_only_as_they_fill() {
    let (_agent, mut client) = Agent::claimed();
    let before = client.status().agent_resident_bytes;
    for number in 0..100 {
        start_and_leave(&mut client, &format!("n{number}"), shell("echo hello; exec sleep 300"));
    }
    let grown = client.status().agent_resident_bytes.saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes for a hundred silent processes");
}

#[test]
fn what_does_not_start_is_not_known() {
    let (_agent, mut client) = Agent::claimed();
    let stream = client.open(&kept("a", argv(&["no-such-program"])));
    assert_eq!(client.collect(stream).3.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(ask(&mut client, ProcessCall::List), Ok(Done::Processes(Vec::new())));
    let stream = client.open(&kept("a/b", shell("true")));
    assert_eq!(client.collect(stream).3.unwrap_err().code, ErrorCode::Invalid);
}
