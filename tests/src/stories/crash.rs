//! What happens when things end that should not.

use std::time::Duration;

use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use testkit::http::Answer;
use testkit::lab::{Builder, Lab, eventually};
use testkit::machines::Kind;

use super::{many, run, sandbox, shown};
use crate::id_of;

/// Once a machine is seen to be gone, who waits for a word from inside has so long to be told.
const LAST_ANSWER_BOUND: Duration = Duration::from_secs(15);

pub async fn each_step_of_a_bring_up_fails_in_turn_and_leaves_nothing(lab: Builder) {
    let lab = lab.start().await;
    for step in lab.kind.steps() {
        lab.faults.fail_at(step);
        let refused = lab.api.post("/v1/sandbox", json!({})).await;
        assert!(refused.status.is_server_error(), "{step}: {refused:?}");
        let message = refused.json()["message"].to_string();
        assert!(message.contains(step), "{step}: {message}");
        lab.faults.clear();
        let owned = lab.runner().supervisor().node.engine.owned().await.unwrap();
        assert!(owned.is_empty(), "left after `{step}` failed: {owned:#?}");
        assert_eq!(lab.api.get("/v1/leaks").await.expect(200).json(), json!({ "items": [] }));
    }
    assert_eq!(lab.api.get("/v1/sandboxes").await.expect(200).json()["total_items"], 0);
    let id = sandbox(&lab).await;
    assert_eq!(run(&lab, &id, "echo well again").await["stdout"], "well again\n");
    lab.end().await;
}

pub async fn a_node_that_restarts_finds_its_sandboxes_running(lab: Builder) {
    let mut lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, "(while :; do date +%s%N > beat; sleep 0.02; done) > /dev/null 2>&1 &").await;
    lab.stop_node().await;
    lab.start_node().await.unwrap();
    assert_eq!(shown(&lab, &id).await["state"], "running");
    let beats = run(
        &lab,
        &id,
        "a=$(cat beat); while test \"$a\" = \"$(cat beat)\"; do sleep 0.05; done; echo beating",
    )
    .await;
    assert_eq!(beats["stdout"], "beating\n", "{beats}");
    lab.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    lab.end().await;
}

pub async fn a_control_that_restarts_has_forgotten_nothing(lab: Builder) {
    let mut lab = lab.start().await;
    let headers = [("idempotency-key", "once")];
    let first = lab.api.post_with("/v1/sandbox", &headers, json!({})).await.expect(201).json();
    let id = id_of(&first);
    lab.stop_control().await;
    lab.start_control().await.unwrap();
    let again = lab.api.post_with("/v1/sandbox", &headers, json!({})).await.expect(201).json();
    assert_eq!(id_of(&again), id);
    assert_eq!(run(&lab, &id, "echo same").await["stdout"], "same\n");
    lab.end().await;
}

pub async fn an_engine_that_is_killed_is_a_death_with_a_reason(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let ask = || {
        let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{id}/process/execute"));
        let command = json!({ "command": "touch begun; sleep 1000", "timeout": 2000 });
        tokio::spawn(async move { api.attempt(Method::POST, &path, command.to_string()).await })
    };
    let before = ask();
    run(&lab, &id, "until test -e begun; do sleep 0.01; done").await;
    let engine = &lab.runner().supervisor().node.engine;
    let processes = engine.owned().await.unwrap();
    let process = processes.iter().find(|owned| owned.kind == "process").expect("a machine has a process");
    let pid: i32 = process.name.split(' ').next().unwrap().parse().expect("a process is named by its number");
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let after = ask();
    eventually("the death is seen", async || shown(&lab, &id).await["state"] == "deleted").await;
    let dead = shown(&lab, &id).await;
    assert_eq!(dead["reason"], "engine_lost", "{dead}");
    assert_eq!(engine.owned().await.unwrap(), []);
    // Nobody waits for the word of a machine that is no more.
    for asked in [before, after] {
        let answer = tokio::time::timeout(LAST_ANSWER_BOUND, asked).await.expect("it is answered").unwrap();
        // One that was waited for so long that its answer had begun is broken off.
        let is_end = |answer: &Answer| answer.status.is_success() || !answer.json()["exit_code"].is_null();
        assert!(!answer.as_ref().is_some_and(is_end), "{answer:?}");
    }
    lab.end().await;
}

pub async fn a_planted_leak_is_found(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    assert_eq!(lab.api.get("/v1/leaks").await.expect(200).json(), json!({ "items": [] }));
    lab.runner().supervisor().abandon();
    let leaks = lab.api.get("/v1/leaks").await.expect(200).json();
    let leaks = leaks["items"].as_array().unwrap();
    assert!(leaks.iter().any(|leak| leak["kind"] == "process"), "{leaks:#?}");
    assert!(leaks.iter().all(|leak| leak["owner"] == json!(id)), "{leaks:#?}");
    lab.runner().supervisor().node.engine.down(&id.parse().unwrap()).await.unwrap();
    lab.end().await;
}

pub async fn a_task_that_breaks_off_is_replaced(lab: Builder) {
    let lab = lab.start().await;
    let (kept, deleted) = tokio::join!(sandbox(&lab), sandbox(&lab));
    for id in [&kept, &deleted] {
        lab.runner().supervisor().break_off(&id.parse().unwrap());
    }
    assert_eq!(run(&lab, &kept, "echo on").await["stdout"], "on\n");
    lab.api.delete(&format!("/v1/sandbox/{deleted}")).await.expect(204);
    assert_eq!(shown(&lab, &deleted).await["state"], "deleted");
    lab.end().await;
}

pub async fn time_goes_on_while_the_node_is_away(lab: Builder) {
    let mut lab = lab.start().await;
    let [short, long] = [100, 1000].map(|timeout| json!({ "timeout": timeout }));
    let short = id_of(&lab.api.post("/v1/sandbox", short).await.expect(201).json());
    let long = id_of(&lab.api.post("/v1/sandbox", long).await.expect(201).json());
    lab.stop_node().await;
    lab.clock.advance(Duration::from_secs(100));
    lab.start_node().await.unwrap();
    eventually("the short one ends", async || shown(&lab, &short).await["state"] == "deleted").await;
    assert_eq!(shown(&lab, &short).await["reason"], "timeout");
    assert_eq!(run(&lab, &long, "echo on").await["stdout"], "on\n");
    lab.end().await;
}

pub async fn a_wall_clock_that_jumps_ends_nothing(lab: Builder) {
    let mut lab = lab.start().await;
    let id = id_of(&lab.api.post("/v1/sandbox", json!({ "timeout": 100 })).await.expect(201).json());
    // To the year 1980, and to 2100.
    for wall_ms in [315_532_800_000, 4_102_444_800_000] {
        lab.clock.set_wall_ms(wall_ms);
        assert_eq!(run(&lab, &id, "echo on").await["stdout"], "on\n");
        lab.stop_node().await;
        lab.start_node().await.unwrap();
        assert_eq!(run(&lab, &id, "echo still on").await["stdout"], "still on\n");
    }
    lab.clock.advance(Duration::from_secs(100));
    eventually("its time is up", async || shown(&lab, &id).await["state"] == "deleted").await;
    lab.end().await;
}

pub async fn a_machine_that_hangs_is_lost_with_evidence(lab: Builder) {
    let lab = lab.silence_max(Duration::from_secs(2)).start().await;
    let (hung, other) = tokio::join!(sandbox(&lab), sandbox(&lab));
    kill_process(machine(&lab, &hung).await, Signal::STOP).unwrap();
    eventually("it is given up", async || shown(&lab, &hung).await["state"] == "deleted").await;
    let dead = shown(&lab, &hung).await;
    // The fake engine has no kernel of its own that could hang.
    let reason = if lab.kind == Kind::Fake { "agent_lost" } else { "engine_lost" };
    assert_eq!(dead["reason"], reason, "{dead}");
    assert!(dead["reason_detail"].as_str().unwrap().contains("T (stopped)"), "{dead}");
    assert_eq!(run(&lab, &other, "echo on").await["stdout"], "on\n");
    lab.end().await;
}

pub async fn a_busy_or_silent_sandbox_is_not_given_up(lab: Builder) {
    let silence_max = Duration::from_secs(3);
    let lab = lab.silence_max(silence_max).start().await;
    let (busy, silent) = tokio::join!(sandbox(&lab), sandbox(&lab));
    let spin =
        "for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; sleep 6; kill $(jobs -p); echo done";
    assert_eq!(run(&lab, &busy, spin).await["stdout"], "done\n");
    for id in [&busy, &silent] {
        assert_eq!(run(&lab, id, "echo on").await["stdout"], "on\n");
    }
    lab.end().await;
}

pub async fn creates_and_deletes_of_the_same_sandboxes_leave_nothing(lab: Builder) {
    let lab = lab.start().await;
    let creates: Vec<_> = (0..many(50))
        .map(|_| {
            let api = lab.api.clone();
            tokio::spawn(async move { api.post("/v1/sandbox", json!({})).await })
        })
        .collect();
    while !creates.iter().all(|create| create.is_finished()) {
        let mut deletes = Vec::new();
        let list = lab.api.get("/v1/sandboxes?page-size=100").await.expect(200).json();
        // Whatever state it is in, twice at once.
        for id in list["items"].as_array().unwrap().iter().map(id_of).flat_map(|id| [id.clone(), id]) {
            let api = lab.api.clone();
            deletes.push(tokio::spawn(async move { api.delete(&format!("/v1/sandbox/{id}")).await }));
        }
        for delete in deletes {
            delete.await.unwrap().expect(204);
        }
    }
    for create in creates {
        let answer = create.await.unwrap();
        let (status, body) = (answer.status.as_u16(), answer.json());
        assert!(status == 201 || body["code"] == "sandbox_deleted", "{status} {body}");
    }
    let list = lab.api.get("/v1/sandboxes?page-size=100").await.expect(200).json();
    for id in list["items"].as_array().unwrap().iter().map(id_of) {
        lab.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    }
    assert_eq!(lab.api.get("/v1/sandboxes").await.expect(200).json()["total_items"], 0);
    assert_eq!(lab.runner().supervisor().node.engine.owned().await.unwrap(), []);
    lab.end().await;
}

/// The process that is the machine, as the host sees it.
pub async fn machine(lab: &Lab, id: &str) -> Pid {
    let seen = lab.runner().supervisor().node.engine.inspect(&id.parse().unwrap()).await;
    let pid = seen["pid"].as_i64().or(seen["agent_pid"].as_i64()).expect("a machine has a process");
    Pid::from_raw(pid as i32).unwrap()
}
