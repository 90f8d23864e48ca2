//! What happens when things end that should not.

use serde_json::json;
use testkit::lab::{Builder, eventually};

use super::{run, sandbox, shown};
use crate::id_of;

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
    let engine = &lab.runner().supervisor().node.engine;
    let processes = engine.owned().await.unwrap();
    let process = processes.iter().find(|owned| owned.kind == "process").expect("a machine has a process");
    let pid: i32 = process.name.split(' ').next().unwrap().parse().expect("a process is named by its number");
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("the death is seen", async || shown(&lab, &id).await["state"] == "deleted").await;
    let dead = shown(&lab, &id).await;
    assert_eq!(dead["reason"], "engine_lost", "{dead}");
    assert_eq!(engine.owned().await.unwrap(), []);
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
