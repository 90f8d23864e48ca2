//! Processes that outlive the connection that started them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use testkit::lab::{Builder, Lab, eventually};

use super::sse::Events;
use super::{many, run, sandbox};

fn at(id: &str, rest: &str) -> String {
    format!("/v1/sandbox/{id}/process/{rest}")
}

async fn start(lab: &Lab, id: &str, body: Value) -> Value {
    lab.api.post(&at(id, "start"), body).await.expect(201).json()
}

async fn attach(lab: &Lab, id: &str, process: &str, after: &str) -> Events {
    Events::open(lab, Method::GET, &at(id, &format!("{process}/attach{after}")), &[], json!({})).await
}

async fn wait(lab: &Lab, id: &str, process: &str) -> Value {
    lab.api.post(&at(id, &format!("{process}/wait")), json!({})).await.expect(200).json()
}

fn said(events: &[Value], channel: &str) -> Vec<u8> {
    let of_channel = events.iter().filter(|event| event["type"] == channel);
    of_channel.flat_map(|event| STANDARD.decode(event["data"].as_str().unwrap()).unwrap()).collect()
}

/// Numbered lines, one after the other.
fn lines(count: usize) -> Vec<u8> {
    (1..=count).flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

pub async fn a_server_is_listed_signalled_and_waited_for(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let server = start(&lab, &id, json!({ "command": script, "id": "server" })).await;
    assert_eq!((&server["state"], &server["command"]), (&json!("running"), &json!(script)));
    lab.api.post(&at(&id, "start"), json!({ "command": "true", "id": "server" })).await.expect(409);
    let listed = lab.api.get(&format!("/v1/sandbox/{id}/processes")).await.expect(200).json();
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["pid"]), (&json!("server"), &server["pid"]));
    let waited = lab.api.post(&at(&id, "server/wait"), json!({ "timeout": 1 })).await.expect(200).json();
    assert_eq!(waited["state"], "running");
    let mut events = attach(&lab, &id, "server", "").await;
    while events.next().await.expect("it says that it is ready")["type"] != "stdout" {}
    lab.api.post(&at(&id, "server/signal"), json!({ "signal": "TERM" })).await.expect(204);
    let ended = wait(&lab, &id, "server").await;
    assert_eq!((&ended["state"], &ended["exit_code"]), (&json!("ended"), &json!(7)), "{ended}");
    assert_eq!(said(&events.rest().await, "stdout"), b"bye\n");
    let late = lab.api.post(&at(&id, "server/signal"), json!({ "signal": 15 })).await.expect(409);
    assert_eq!(late.json()["code"], "wrong_state");
    lab.api.delete(&at(&id, "server")).await.expect(204);
    lab.api.get(&at(&id, "server")).await.expect(404);
    lab.end().await;
}

pub async fn whoever_lost_a_connection_misses_nothing_and_sees_nothing_twice(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    // Says half of what is kept each time it is told to, five megabytes in all.
    let (turns, each) = (10, many(70_000));
    let script = format!(
        "n=0; while read go; do seq $((n * {each} + 1)) $(((n + 1) * {each})); n=$((n + 1)); done; exit 3"
    );
    let body = json!({ "command": script, "on_disconnect": "detach", "id": "count", "open_stdin": true, "timeout": 600 });
    let mut events = Events::open(&lab, Method::POST, &at(&id, "stream"), &[], body).await;
    let started = events.next().await.unwrap();
    assert_eq!(
        (&started["type"], &started["seq"], &started["id"]),
        (&json!("started"), &json!(0), &json!("count"))
    );
    let (mut seq, mut heard) = (0, Vec::new());
    for turn in 1..=turns {
        lab.api.post_bytes(&at(&id, "count/stdin"), "go\n").await.expect(204);
        let expect = lines(turn * each);
        while heard.len() < expect.len() {
            let event = events.next().await.expect("it has not ended");
            assert_eq!((&event["type"], event["seq"].as_u64()), (&json!("stdout"), Some(seq + 1)), "{turn}");
            heard.extend(STANDARD.decode(event["data"].as_str().unwrap()).unwrap());
            seq += 1;
            // The connection breaks every few events, and is taken up where it was.
            if seq % 3 == 0 {
                drop(events);
                events = come_back(&lab, &id, seq).await;
            }
        }
        assert!(heard == expect, "something was lost or came twice");
    }
    lab.api.post_bytes(&at(&id, "count/stdin?eof=true"), "").await.expect(204);
    let end = events.rest().await;
    assert_eq!(end, [json!({ "seq": seq + 1, "type": "exit", "exit_code": 3, "how": "exited" })]);
    lab.end().await;
}

/// As a client that asks, or as one that comes back by itself and repeats what it asked first.
async fn come_back(lab: &Lab, id: &str, seq: u64) -> Events {
    if seq.is_multiple_of(2) {
        return attach(lab, id, "count", &format!("?after={seq}")).await;
    }
    let (path, seq) = (at(id, "count/attach?after=0"), seq.to_string());
    Events::open(lab, Method::GET, &path, &[("last-event-id", &seq)], json!({})).await
}

pub async fn a_listener_that_stays_hears_five_megabytes_exactly(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let count = many(700_000);
    let script = format!("while ! test -e go; do sleep 0.05; done; seq 1 {count}");
    start(&lab, &id, json!({ "command": script, "id": "count" })).await;
    // Two listen: one at its ease, which the process waits for.
    let (one, mut other) = (attach(&lab, &id, "count", "").await, attach(&lab, &id, "count", "").await);
    other.next().await.unwrap();
    let one = tokio::spawn(one.rest());
    super::write(&lab, &id, "go", "").await.expect(204);
    let mut slow = Vec::new();
    while let Some(event) = other.next().await {
        slow.push(event);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let (quick, expect) = (one.await.unwrap(), lines(count));
    assert!(said(&quick, "stdout") == expect, "the quick one lost something");
    assert!(said(&slow, "stdout") == expect, "the slow one lost something");
    lab.end().await;
}

pub async fn what_nobody_listened_to_in_time_is_told_to_be_missing(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    start(&lab, &id, json!({ "command": "head -c 4000000 /dev/zero; echo last", "id": "loud" })).await;
    let ended = wait(&lab, &id, "loud").await;
    assert!(ended["first_seq"].as_u64().unwrap() > 1, "{ended}");
    let events = attach(&lab, &id, "loud", "").await.rest().await;
    assert_eq!((&events[0]["type"], &events[1]["type"]), (&json!("started"), &json!("gap")));
    assert_eq!(events[1]["missed"].as_u64(), ended["first_seq"].as_u64().map(|first| first - 1));
    assert_eq!(events[2]["seq"], ended["first_seq"]);
    assert!(said(&events, "stdout").ends_with(b"\0last\n"));
    assert_eq!(events.last().unwrap()["seq"], ended["last_seq"]);
    lab.end().await;
}

pub async fn a_lost_connection_kills_unless_it_was_to_detach(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    for (on_disconnect, survives) in [("kill", false), ("detach", true)] {
        let script = format!("while :; do date +%s%N > beat-{on_disconnect}; sleep 0.05; done");
        let body = json!({ "command": script, "on_disconnect": on_disconnect, "timeout": 600 });
        let mut events = Events::open(&lab, Method::POST, &at(&id, "stream"), &[], body).await;
        let started = events.next().await.unwrap();
        assert_eq!(started.get("id").is_some(), survives, "{started}");
        let pid = started["pid"].as_u64().unwrap();
        drop(events);
        let alive = format!("kill -0 {pid}");
        if survives {
            let beat =
                "a=$(cat beat-detach); while test \"$a\" = \"$(cat beat-detach)\"; do sleep 0.05; done";
            assert_eq!(run(&lab, &id, beat).await["exit_code"], 0);
            lab.api.delete(&at(&id, started["id"].as_str().unwrap())).await.expect(204);
        }
        eventually("the process is gone", async || run(&lab, &id, &alive).await["exit_code"] != 0).await;
    }
    lab.end().await;
}

pub async fn input_reaches_a_process_until_its_end(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let body = json!({ "argv": ["cat"], "id": "cat", "stdin": "zero\n", "open_stdin": true });
    assert_eq!(start(&lab, &id, body).await["stdin"], true);
    let mut events = attach(&lab, &id, "cat", "").await;
    while events.next().await.unwrap()["type"] != "stdout" {}
    let (stdin, large) = (at(&id, "cat/stdin"), lines(many(100_000)));
    lab.api.post_bytes(&stdin, "one\n").await.expect(204);
    let rest = tokio::spawn(events.rest());
    lab.api.post_bytes(&format!("{stdin}?eof=true"), large.clone()).await.expect(204);
    let events = rest.await.unwrap();
    assert!(said(&events, "stdout") == [b"one\n", &large[..]].concat(), "input and output differ");
    assert_eq!(events.last().unwrap()["exit_code"], 0);
    assert_eq!(lab.api.post_bytes(&stdin, "late").await.expect(409).json()["code"], "wrong_state");
    start(&lab, &id, json!({ "argv": ["sleep", "100"], "id": "deaf" })).await;
    lab.api.post_bytes(&at(&id, "deaf/stdin"), "x").await.expect(409);
    lab.end().await;
}

pub async fn ids_that_are_none_lead_nowhere(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    for name in ["..", "a/b", "a b", "é", "stream", ""] {
        let refused =
            lab.api.post(&at(&id, "start"), json!({ "command": "true", "id": name })).await.expect(400);
        assert_eq!(refused.json()["errors"][0]["field"], "id", "{name:?}");
    }
    for path in ["gone", "..%2F..%2Fetc", "%00", "a%0Ab"] {
        lab.api.get(&at(&id, path)).await.expect(404);
        lab.api.get(&at(&id, &format!("{path}/attach"))).await.expect(404);
    }
    start(&lab, &id, json!({ "command": "true", "id": "a" })).await;
    wait(&lab, &id, "a").await;
    let future = lab.api.get(&at(&id, "a/attach?after=4096")).await.expect(400);
    assert_eq!(future.json()["errors"][0]["field"], "after");
    lab.end().await;
}

pub async fn a_machine_that_is_lost_under_a_stream_is_an_error_and_no_end(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let body = json!({ "command": "echo begun; sleep 1000", "timeout": 2000 });
    let mut events = Events::open(&lab, Method::POST, &at(&id, "stream"), &[], body).await;
    while events.next().await.unwrap()["type"] != "stdout" {}
    let owned = lab.runner().supervisor().node.engine.owned().await.unwrap();
    let process = owned.iter().find(|owned| owned.kind == "process").expect("a machine has a process");
    let pid: i32 = process.name.split(' ').next().unwrap().parse().expect("a process is named by its number");
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let rest = events.rest().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!((&rest[0]["type"], rest[0].get("exit_code")), (&json!("error"), None), "{rest:?}");
    assert!(!rest[0]["code"].as_str().unwrap().is_empty());
    eventually("the death is seen", async || super::shown(&lab, &id).await["state"] == "deleted").await;
    lab.end().await;
}
