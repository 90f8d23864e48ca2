//! Sandboxes that are paused, and wake when they are needed.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use testkit::http::Answer;
use testkit::lab::{Builder, Lab, eventually};
use testkit::machines::Kind;
use wire::node::{NodeError, WakeSandbox};

use super::{PATIENCE_SECONDS, execute, many, read, run, sandbox, shown, write};
use crate::id_of;

/// Something that is asked again and again is answered within this.
const ANSWER_BOUND: Duration = Duration::from_secs(120);
/// Before it is asked again.
const AGAIN_WAIT: Duration = Duration::from_millis(50);

/// Counts for ever; a number that is missing or there twice is seen by [`counted`].
pub(super) const COUNT: &str =
    "(i=0; while :; do i=$((i+1)); echo $i >> counts; sleep 0.01; done) > /dev/null 2>&1 &";

/// Talks to itself over a connection, notes each word in a file that stays open, and listens for others.
const TALK: &str = r#"
import os, socket, threading, time
def serve(server):
    while True: threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()
def echo(connection):
    while word := connection.recv(100): connection.sendall(word)
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(server,), daemon=True).start()
own = socket.create_connection(server.getsockname())
log = open("log", "a", buffering=1)
with open("port.new", "w") as file: file.write(str(server.getsockname()[1]))
os.rename("port.new", "port")
number = 0
while True:
    own.sendall(b"%d" % number)
    assert own.recv(100) == b"%d" % number
    log.write("%d %s\n" % (number, os.environ["GREETING"]))
    print(number, flush=True)
    number += 1
    time.sleep(0.01)
"#;

/// Looks at what [`TALK`] noted, and talks to it.
const CHECK: &str = r#"
import socket
with open("log") as file: lines = file.read().splitlines()
assert lines == ["%d hello" % number for number in range(len(lines))], lines
with socket.create_connection(("127.0.0.1", int(open("port").read()))) as other:
    other.sendall(b"word")
    assert other.recv(100) == b"word"
print(len(lines))
"#;

pub(super) async fn pause(lab: &Lab, id: &str) -> Value {
    ask_to_pause(lab, id).await.expect(201).json()
}

async fn ask_to_pause(lab: &Lab, id: &str) -> Answer {
    lab.api.send(Method::POST, &format!("/v1/sandbox/{id}/pause"), &[], bytes::Bytes::new()).await
}

/// How far it has counted, when that is more than so many and none is missing.
pub(super) async fn counted(lab: &Lab, id: &str, more_than: u64) -> u64 {
    let wait =
        format!("until test $(wc -l < counts) -gt {more_than}; do sleep 0.01; done; head -c -1 counts");
    let said = asked_until_answered(lab, id, &wait).await;
    let lines: Vec<u64> =
        said["stdout"].as_str().unwrap().lines().filter_map(|line| line.parse().ok()).collect();
    let count = lines.len() as u64;
    // The last may have been half written when it was read.
    assert!(lines.iter().zip(1..count).all(|(line, number)| *line == number), "{said}");
    count
}

/// What a command came to. A pause that was asked for before, and is carried out meanwhile, parts us from it.
async fn asked_until_answered(lab: &Lab, id: &str, command: &str) -> Value {
    let (path, began) = (format!("/v1/sandbox/{id}/process/execute"), Instant::now());
    let body = json!({ "command": command, "timeout": PATIENCE_SECONDS }).to_string();
    loop {
        match lab.api.attempt(Method::POST, &path, body.clone()).await {
            Some(answer) if answer.status == 200 => return answer.json(),
            answer => assert!(began.elapsed() < ANSWER_BOUND, "it is not answered: {answer:?}"),
        }
        tokio::time::sleep(AGAIN_WAIT).await;
    }
}

/// What the host holds of machines; of the fake engine's, which keep their processes, nothing can be said.
async fn assert_no_compute(lab: &Lab) {
    if lab.kind != Kind::Fake {
        assert_eq!(lab.runner().supervisor().node.engine.owned().await.unwrap(), []);
    }
    assert_eq!(lab.api.get("/v1/leaks").await.expect(200).json(), json!({ "items": [] }));
    let (_, used) = lab.runner().supervisor().capacity();
    assert_eq!(used.sandboxes, 0);
}

/// What engines write and read is plain for a moment alone.
pub(super) async fn assert_nothing_plain(lab: &Lab) {
    let plain = lab.dir().join("plain");
    eventually("nothing is plain", async || std::fs::read_dir(&plain).unwrap().next().is_none()).await;
}

pub async fn what_is_paused_takes_no_compute_and_goes_on_when_it_is_needed(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    write(&lab, &id, "kept", "written before").await.expect(204);
    run(&lab, &id, COUNT).await;
    let before = counted(&lab, &id, 10).await;
    let paused = pause(&lab, &id).await;
    assert_eq!((&paused["state"], &paused["timeout_at"]), (&json!("paused"), &Value::Null), "{paused}");
    assert_no_compute(&lab).await;
    assert_eq!(pause(&lab, &id).await["state"], "paused", "twice is as good as once");
    // Whoever looks does not wake it.
    assert_eq!(lab.api.get("/v1/sandboxes?state=paused").await.expect(200).json()["total_items"], 1);
    lab.api.get(&format!("/v1/sandbox/{id}/inspect")).await.expect(200);
    assert_eq!(shown(&lab, &id).await["state"], "paused");
    assert_eq!(read(&lab, &id, json!({ "path": "kept" })).await.expect(200).body, "written before");
    assert_eq!(shown(&lab, &id).await["state"], "running");
    counted(&lab, &id, before + 10).await;
    assert_eq!(lab.kept.count(), 1, "what it was is kept until it is paused again");
    pause(&lab, &id).await;
    assert_eq!(lab.kept.count(), 1);
    assert_nothing_plain(&lab).await;
    lab.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    assert_eq!(lab.kept.count(), 0);
    lab.end().await;
}

pub async fn open_files_connections_processes_and_environment_outlive_a_pause(lab: Builder) {
    let lab = lab.start().await;
    let asked = json!({ "env_vars": { "GREETING": "hello" } });
    let id = id_of(&lab.api.post("/v1/sandbox", asked).await.expect(201).json());
    let talk = json!({ "argv": ["python3", "-c", TALK], "id": "talk" });
    lab.api.post(&format!("/v1/sandbox/{id}/process/start"), talk).await.expect(201);
    run(&lab, &id, "until test -s port; do sleep 0.01; done").await;
    let mut before = 0;
    for _ in 0..2 {
        pause(&lab, &id).await;
        let checked =
            execute(&lab, &id, json!({ "argv": ["python3", "-c", CHECK] })).await.expect(200).json();
        let lines: Option<u64> = checked["stdout"].as_str().and_then(|said| said.trim().parse().ok());
        let lines = lines.unwrap_or_else(|| panic!("{checked}"));
        assert!(lines > before, "{lines} after {before}");
        before = lines;
        run(&lab, &id, &format!("until test $(wc -l < log) -gt {}; do sleep 0.01; done", lines + 10)).await;
    }
    let process = lab.api.get(&format!("/v1/sandbox/{id}/process/talk")).await.expect(200).json();
    assert_eq!(process["state"], "running", "{process}");
    lab.end().await;
}

pub async fn a_command_under_way_goes_on_when_it_wakes_and_its_time_stands_still(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let waits = {
        let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{id}/process/execute"));
        let command = "touch begun; until test -e go; do sleep 0.01; done; echo on > done";
        let body = json!({ "command": command, "timeout": 300 });
        tokio::spawn(async move { api.attempt(Method::POST, &path, body.to_string()).await })
    };
    eventually("it has begun", async || read(&lab, &id, json!({ "path": "begun" })).await.status == 200)
        .await;
    pause(&lab, &id).await;
    run(&lab, &id, "touch go; until test -s done; do sleep 0.01; done").await;
    let ended = waits.await.unwrap().expect("it is answered").expect(200).json();
    assert_eq!(ended["exit_code"], 0, "{ended}");
    lab.end().await;
}

pub async fn twenty_callers_wake_it_once(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, "echo here > file").await;
    pause(&lab, &id).await;
    let callers = (0..20).map(|caller| {
        let (api, id) = (lab.api.clone(), id.clone());
        tokio::spawn(async move {
            let sandbox = format!("/v1/sandbox/{id}");
            match caller % 4 {
                0 => api.post(&format!("{sandbox}/process/execute"), json!({ "command": "cat file" })).await,
                1 => api.post(&format!("{sandbox}/filesystem/read-file"), json!({ "path": "file" })).await,
                2 => api.get(&format!("{sandbox}/pty")).await,
                _ => {
                    let path = format!("{sandbox}/filesystem/write-file?path=file-{caller}");
                    api.post_bytes(&path, vec![1; 100_000]).await
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        let answer = caller.await.unwrap();
        assert!(answer.status.is_success(), "{answer:?}");
    }
    let observed = lab.runner().supervisor().observed(&id.parse().unwrap()).unwrap();
    assert_eq!(observed.generation, 3, "made, paused and woken once");
    assert_eq!(run(&lab, &id, "cat file-* | wc -c").await["stdout"], "500000\n");
    lab.end().await;
}

pub async fn fifty_generations_keep_every_byte(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    for generation in 1..=many(50) {
        let step = format!(
            "head -c 65536 /dev/urandom > data-{generation} && sha256sum data-* > sums; test $(wc -l < sums) = {generation}"
        );
        assert_eq!(run(&lab, &id, &step).await["exit_code"], 0, "{generation}");
        pause(&lab, &id).await;
        let checked = run(&lab, &id, "sha256sum --quiet -c sums && wc -l < sums").await;
        assert_eq!(checked["stdout"], format!("{generation}\n"), "{checked}");
    }
    lab.end().await;
}

pub async fn one_with_auto_pause_is_paused_when_its_time_is_up_and_has_all_of_it_when_it_wakes(lab: Builder) {
    let lab = lab.start().await;
    let asked = json!({ "timeout": 100, "auto_pause": true });
    let made = lab.api.post("/v1/sandbox", asked).await.expect(201).json();
    assert_eq!(made["auto_pause"], true);
    let id = id_of(&made);
    for _ in 0..2 {
        lab.clock.advance(Duration::from_secs(99));
        assert_eq!(run(&lab, &id, "echo still here").await["stdout"], "still here\n");
        lab.clock.advance(Duration::from_secs(1));
        eventually("it is paused", async || shown(&lab, &id).await["state"] == "paused").await;
        assert_no_compute(&lab).await;
        lab.clock.advance(Duration::from_secs(1000));
        assert_eq!(run(&lab, &id, "echo here again").await["stdout"], "here again\n");
    }
    lab.end().await;
}

pub async fn the_time_of_one_that_is_paused_is_changed_without_waking_it_and_begins_when_it_wakes(
    lab: Builder,
) {
    let mut lab = lab.start().await;
    let id = id_of(&lab.api.post("/v1/sandbox", json!({ "timeout": 100 })).await.expect(201).json());
    let path = format!("/v1/sandbox/{id}/timeout");
    pause(&lab, &id).await;
    for (change, seconds) in [(json!({ "timeout": 1000 }), 1000), (json!({ "extend": 500 }), 1500)] {
        let changed = lab.api.post(&path, change).await.expect(200).json();
        assert_eq!(
            (&changed["state"], &changed["timeout"]),
            (&json!("paused"), &json!(seconds)),
            "{changed}"
        );
        assert_eq!(changed["timeout_at"], Value::Null, "{changed}");
    }
    let refused = lab.api.post(&path, json!({ "extend": 27_301 })).await.expect(400).json();
    assert!(refused["message"].as_str().unwrap().contains("at most 27300"), "{refused}");
    lab.stop_control().await;
    lab.start_control().await.unwrap();
    lab.clock.advance(Duration::from_secs(5000));
    assert_eq!(shown(&lab, &id).await["state"], "paused");
    assert_no_compute(&lab).await;
    assert_eq!(run(&lab, &id, "echo awake").await["stdout"], "awake\n");
    lab.clock.advance(Duration::from_secs(1499));
    assert_eq!(run(&lab, &id, "echo still here").await["stdout"], "still here\n");
    lab.clock.advance(Duration::from_secs(1));
    eventually("its time is up", async || shown(&lab, &id).await["state"] == "deleted").await;
    assert_eq!(shown(&lab, &id).await["reason"], "timeout");
    lab.end().await;
}

pub async fn a_request_that_meets_an_auto_pause_is_only_later(lab: Builder) {
    let lab = lab.start().await;
    let asked = json!({ "timeout": 100, "auto_pause": true });
    let id = id_of(&lab.api.post("/v1/sandbox", asked).await.expect(201).json());
    let held = lab.hold("kept");
    lab.clock.advance(Duration::from_secs(100));
    held.reached().await;
    let calls = [1, 2, 3].map(|call| {
        let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{id}/process/execute"));
        tokio::spawn(async move { api.post(&path, json!({ "command": format!("echo {call}") })).await })
    });
    held.release();
    for (call, asked) in (1..).zip(calls) {
        assert_eq!(asked.await.unwrap().expect(200).json()["stdout"], format!("{call}\n"));
    }
    lab.end().await;
}

pub async fn a_delete_wins_while_it_is_paused_being_paused_or_woken(lab: Builder) {
    let lab = lab.start().await;
    let delete = |id: &String| {
        let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{id}"));
        tokio::spawn(async move { api.delete(&path).await })
    };
    let paused = sandbox(&lab).await;
    pause(&lab, &paused).await;
    delete(&paused).await.unwrap().expect(204);
    for step in ["snapshotting", "kept", "released"] {
        let id = sandbox(&lab).await;
        let held = lab.hold(step);
        let pausing = {
            let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{id}/pause"));
            tokio::spawn(async move { api.post(&path, json!({})).await })
        };
        held.reached().await;
        let deleting = delete(&id);
        eventually("it is to go", async || shown(&lab, &id).await["state"] == "deleting").await;
        held.release();
        deleting.await.unwrap().expect(204);
        assert!(!pausing.await.unwrap().status.is_success(), "{step}");
    }
    let waking = sandbox(&lab).await;
    pause(&lab, &waking).await;
    let held = lab.hold("agent");
    let asked = {
        // Unlike a command's, its answer does not begin before it is known.
        let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{waking}/pty"));
        tokio::spawn(async move { api.get(&path).await })
    };
    held.reached().await;
    let deleting = delete(&waking);
    eventually("it is to go", async || shown(&lab, &waking).await["state"] == "deleting").await;
    held.release();
    deleting.await.unwrap().expect(204);
    assert!(!asked.await.unwrap().status.is_success());
    assert_eq!(lab.kept.count(), 0);
    assert_nothing_plain(&lab).await;
    assert_no_compute(&lab).await;
    lab.end().await;
}

pub async fn a_pause_that_fails_at_any_step_leaves_it_running(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, COUNT).await;
    for step in lab.kind.checkpoint_steps().iter().chain(&["written"]) {
        let before = counted(&lab, &id, 10).await;
        lab.faults.fail_at(step);
        let refused = lab.api.attempt(Method::POST, &format!("/v1/sandbox/{id}/pause"), "").await;
        lab.faults.clear();
        // On a busy host it takes so long that its answer has begun, and is cut off.
        if let Some(refused) = refused {
            assert!(refused.status.is_server_error(), "{step}: {refused:?}");
            let message = refused.json()["message"].to_string();
            assert!(message.contains(step) && message.contains("runs on"), "{step}: {message}");
        }
        counted(&lab, &id, before + 10).await;
        assert_eq!(shown(&lab, &id).await["state"], "running");
    }
    assert_eq!(pause(&lab, &id).await["state"], "paused");
    lab.end().await;
}

pub async fn a_wake_that_fails_at_any_step_leaves_it_paused(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, COUNT).await;
    let before = counted(&lab, &id, 10).await;
    pause(&lab, &id).await;
    for step in lab.kind.wake_steps() {
        lab.faults.fail_at(step);
        // Unlike a command's, its answer does not begin before it is known.
        let refused = lab.api.get(&format!("/v1/sandbox/{id}/pty")).await;
        lab.faults.clear();
        assert!(refused.status.is_server_error(), "{step}: {refused:?}");
        let message = refused.json()["message"].to_string();
        assert!(message.contains(step) && message.contains("could not be woken"), "{step}: {message}");
        assert_eq!(shown(&lab, &id).await["state"], "paused");
        assert_no_compute(&lab).await;
        // Who orders the same wake once more has not heard of that, and wakes nothing.
        let again = wake_again(&lab, &id).await;
        assert!(again.message.contains(step), "{step}: {again:?}");
        assert_no_compute(&lab).await;
    }
    counted(&lab, &id, before + 10).await;
    lab.end().await;
}

/// Orders the wake that the node has refused last.
async fn wake_again(lab: &Lab, id: &str) -> NodeError {
    let (id, supervisor) = (id.parse().unwrap(), lab.runner().supervisor());
    let generation = supervisor.observed(&id).unwrap().generation;
    supervisor.wake(&id, WakeSandbox { generation, timeout_seconds: PATIENCE_SECONDS }).await.unwrap_err()
}

pub async fn a_node_that_restarts_meanwhile_loses_nothing(lab: Builder) {
    let mut lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, COUNT).await;
    for step in ["snapshotting", "kept", "released", "paused"] {
        let before = counted(&lab, &id, 10).await;
        let held = lab.hold(step);
        let pausing = {
            let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{id}/pause"));
            tokio::spawn(async move { api.attempt(Method::POST, &path, "{}").await })
        };
        held.reached().await;
        lab.stop_node().await;
        held.release();
        lab.start_node().await.unwrap();
        pausing.await.unwrap();
        counted(&lab, &id, before + 10).await;
    }
    let before = counted(&lab, &id, 10).await;
    pause(&lab, &id).await;
    lab.stop_node().await;
    lab.stop_control().await;
    lab.start_node().await.unwrap();
    lab.start_control().await.unwrap();
    assert_eq!(shown(&lab, &id).await["state"], "paused");
    let held = lab.hold("agent");
    let asked = {
        let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{id}/process/execute"));
        let command = json!({ "command": "true" }).to_string();
        tokio::spawn(async move { api.attempt(Method::POST, &path, command).await })
    };
    held.reached().await;
    lab.stop_node().await;
    held.release();
    lab.start_node().await.unwrap();
    asked.await.unwrap();
    counted(&lab, &id, before + 10).await;
    assert_nothing_plain(&lab).await;
    lab.end().await;
}

pub async fn a_wake_for_which_there_is_no_room_is_refused_and_it_stays_paused(lab: Builder) {
    let lab = lab.capacity(1).start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, "echo kept > file").await;
    pause(&lab, &id).await;
    let other = sandbox(&lab).await;
    let refused = execute(&lab, &id, json!({ "command": "cat file" })).await.expect(503);
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    assert_eq!(refused.json()["code"], "no_capacity", "{refused:?}");
    assert_eq!(shown(&lab, &id).await["state"], "paused");
    lab.api.delete(&format!("/v1/sandbox/{other}")).await.expect(204);
    assert_eq!(run(&lab, &id, "cat file").await["stdout"], "kept\n");
    lab.end().await;
}

pub async fn a_team_that_may_have_no_more_wakes_none(lab: Builder) {
    let lab = lab.start().await;
    let team = lab.api.get("/v1/me").await.expect(200).json()["team"]["id"].as_str().unwrap().to_owned();
    let limit = json!({ "limits": { "sandboxes": 1 } }).to_string();
    let headers = [("content-type", "application/json")];
    lab.api.send(Method::PATCH, &format!("/v1/team/{team}"), &headers, limit.into()).await.expect(200);
    let id = sandbox(&lab).await;
    lab.api.post("/v1/sandbox", json!({})).await.expect(409);
    pause(&lab, &id).await;
    let other = sandbox(&lab).await;
    let refused = execute(&lab, &id, json!({ "command": "true" })).await.expect(429);
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    assert_eq!(refused.json()["code"], "team_limit", "{refused:?}");
    pause(&lab, &other).await;
    assert_eq!(run(&lab, &id, "echo on").await["stdout"], "on\n");
    lab.end().await;
}

pub async fn what_is_kept_and_damaged_is_refused_with_the_reason(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    pause(&lab, &id).await;
    lab.kept.flip();
    // Unlike a command's, its answer does not begin before it is known.
    let terminals = format!("/v1/sandbox/{id}/pty");
    let refused = lab.api.get(&terminals).await.expect(502).json();
    assert!(refused["message"].as_str().unwrap().contains("is damaged"), "{refused}");
    assert_eq!(shown(&lab, &id).await["state"], "paused");
    lab.kept.flip();
    assert_eq!(run(&lab, &id, "echo on").await["stdout"], "on\n");
    pause(&lab, &id).await;
    lab.kept.lose(true);
    lab.api.get(&terminals).await.expect(502);
    assert_eq!(shown(&lab, &id).await["state"], "paused");
    lab.kept.lose(false);
    assert_eq!(run(&lab, &id, "echo on").await["stdout"], "on\n");
    lab.end().await;
}

pub async fn an_engine_that_dies_while_it_is_paused_is_a_death_with_that_reason(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let held = lab.hold(lab.kind.checkpoint_steps()[0]);
    let pausing = {
        let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{id}/pause"));
        tokio::spawn(async move { api.post(&path, json!({})).await })
    };
    held.reached().await;
    let machine = super::crash::machine(&lab, &id).await;
    rustix::process::kill_process(machine, rustix::process::Signal::KILL).unwrap();
    lab.faults.fail_at(lab.kind.checkpoint_steps()[0]);
    held.release();
    pausing.await.unwrap().expect(404);
    lab.faults.clear();
    let dead = shown(&lab, &id).await;
    assert_eq!((&dead["state"], &dead["reason"]), (&json!("deleted"), &json!("checkpoint_failed")), "{dead}");
    assert_no_compute(&lab).await;
    lab.end().await;
}
