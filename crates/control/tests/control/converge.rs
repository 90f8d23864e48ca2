//! Store and node find together again, whatever happened to either.

use std::time::Duration;

use serde_json::json;
use wire::id::SandboxId;
use wire::node::{NodeError, NodeErrorCode};
use wire::sandbox::{Reason, State};

use crate::eventually;
use crate::support::Lab;

/// Asks for a sandbox and hangs up when the node is at work.
async fn create_and_hang_up(lab: &Lab) {
    let before = lab.node.puts();
    let stream = lab.raw("POST", "/v1/sandbox", "content-length: 2\r\n", b"{}").await;
    eventually!(lab.node.puts() > before);
    drop(stream);
}

async fn listed(lab: &Lab, state: &str) -> Option<SandboxId> {
    let list = lab.get(&format!("/v1/sandboxes?state={state}")).await.expect(200).json();
    list["items"][0]["id"].as_str().map(|id| id.parse().unwrap())
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_a_sandbox_that_can_be_seen() {
    let lab = Lab::start().await;
    lab.node.set_gate(false);
    create_and_hang_up(&lab).await;
    let id = listed(&lab, "starting").await.expect("it is not listed");
    lab.node.set_gate(true);
    eventually!(lab.state(&id).await == "running");
}

#[tokio::test]
async fn after_a_crash_what_was_starting_is_driven_to_running() {
    let mut lab = Lab::start().await;
    lab.node.set_gate(false);
    create_and_hang_up(&lab).await;
    let id = listed(&lab, "starting").await.unwrap();
    lab.crash_and_restart().await;
    eventually!(lab.node.puts() == 2);
    lab.node.set_gate(true);
    eventually!(lab.state(&id).await == "running");
    assert_eq!(lab.node.inner.sandboxes.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn after_a_crash_what_cannot_be_made_is_deleted() {
    let mut lab = Lab::start().await;
    lab.node.set_gate(false);
    create_and_hang_up(&lab).await;
    let id = listed(&lab, "starting").await.unwrap();
    let refusal = NodeError::new(NodeErrorCode::EngineFailed, "no more engines");
    *lab.node.inner.refuse_puts.lock().unwrap() = Some(refusal);
    lab.crash_and_restart().await;
    eventually!(lab.state(&id).await == "deleted");
    let record = lab.get(&format!("/v1/sandbox/{id}")).await.json();
    assert_eq!(
        (&record["reason"], &record["reason_detail"]),
        (&json!("create_failed"), &json!("no more engines"))
    );
    assert!(!lab.node.has(&id));
}

#[tokio::test]
async fn after_a_crash_a_delete_goes_on() {
    let mut lab =
        Lab::with(control::Limits { delete_wait: Duration::from_millis(50), ..Lab::limits() }).await;
    let id = lab.sandbox().await;
    lab.node.stop();
    lab.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    assert_eq!(lab.state(&id).await, "deleting");
    lab.crash_and_restart().await;
    lab.node.start();
    eventually!(lab.state(&id).await == "deleted");
    assert!(!lab.node.has(&id));
}

#[tokio::test]
async fn a_create_that_fails_leaves_nothing() {
    let lab = Lab::start().await;
    for (code, status) in [
        (NodeErrorCode::EngineFailed, 500),
        (NodeErrorCode::NotFound, 500),
        (NodeErrorCode::Internal, 500),
        (NodeErrorCode::NoCapacity, 503),
        (NodeErrorCode::Timeout, 503),
    ] {
        *lab.node.inner.refuse_puts.lock().unwrap() = Some(NodeError::new(code, "because"));
        let answer = lab.post("/v1/sandbox", json!({})).await.expect(status);
        assert!(answer.message().contains("because"));
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503);
    }
    assert_eq!(lab.get("/v1/sandboxes").await.json()["total_items"], 0);
    assert!(lab.node.inner.sandboxes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_node_that_comes_back_in_time_is_waited_for() {
    let mut lab = Lab::start().await;
    lab.node.set_gate(false);
    create_and_hang_up(&lab).await;
    let id = listed(&lab, "starting").await.unwrap();
    lab.crash_and_restart().await;
    lab.node.stop();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(lab.state(&id).await, "starting", "a node that cannot be reached leaves its records alone");
    lab.node.set_gate(true);
    lab.node.start();
    eventually!(lab.state(&id).await == "running");
}

#[tokio::test]
async fn without_a_node_a_create_is_refused() {
    // The node may be missed before the create places it there, or after.
    let (create_wait, delete_wait) = (Duration::from_millis(500), Duration::from_millis(200));
    let mut lab = Lab::with(control::Limits { create_wait, delete_wait, ..Lab::limits() }).await;
    lab.node.stop();
    let answer = lab.post("/v1/sandbox", json!({})).await;
    assert_eq!(answer.status, 503, "{:?}", answer.json());
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_full_node_refuses_and_a_delete_makes_room() {
    let lab = Lab::start().await;
    lab.node.inner.capacity.lock().unwrap().memory_mib = 2048;
    lab.get("/v1/nodes").await.expect(200);
    let first = lab.sandbox().await;
    lab.sandbox().await;
    let answer = lab.post("/v1/sandbox", json!({})).await.expect(503);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(lab.get("/v1/sandboxes").await.json()["total_items"], 2);
    lab.delete(&format!("/v1/sandbox/{first}")).await.expect(204);
    lab.sandbox().await;
}

#[tokio::test]
async fn a_death_is_recorded_with_its_reason_and_evidence() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.kill(&id, Reason::Timeout, "its 300 s were up");
    eventually!(lab.state(&id).await == "deleted");
    let record = lab.get(&format!("/v1/sandbox/{id}")).await.json();
    assert_eq!(
        (&record["reason"], &record["reason_detail"]),
        (&json!("timeout"), &json!("its 300 s were up"))
    );
    let answer =
        lab.post(&format!("/v1/sandbox/{id}/process/execute"), json!({"command": "true"})).await.expect(404);
    assert!(answer.message().contains("timeout"), "{}", answer.message());
    assert_eq!(answer.code(), "sandbox_deleted");
    // The node is told that it may forget.
    eventually!(!lab.node.inner.sandboxes.lock().unwrap().contains_key(&id));
}

#[tokio::test]
async fn a_death_while_control_was_away_is_found() {
    let mut lab = Lab::start().await;
    let (dead, lost) = (lab.sandbox().await, lab.sandbox().await);
    lab.stop().await;
    lab.node.kill(&dead, Reason::OutOfMemory, "killed");
    lab.node.inner.sandboxes.lock().unwrap().remove(&lost);
    lab.crash_and_restart().await;
    eventually!(lab.state(&dead).await == "deleted" && lab.state(&lost).await == "deleted");
    assert_eq!(lab.get(&format!("/v1/sandbox/{dead}")).await.json()["reason"], "out_of_memory");
    assert_eq!(lab.get(&format!("/v1/sandbox/{lost}")).await.json()["reason"], "engine_lost");
}

#[tokio::test]
async fn a_sandbox_nobody_asked_for_is_deleted() {
    let lab = Lab::start().await;
    let stranger = SandboxId::from_entropy([8; 20]);
    lab.node.inner.change(&stranger, State::Running, None);
    eventually!(!lab.node.has(&stranger));
    let ours = lab.sandbox().await;
    tokio::time::sleep(lab.limits.sweep_interval * 3).await;
    assert!(lab.node.has(&ours), "what was asked for stays");
}

#[tokio::test]
async fn a_delete_wins_over_a_create_under_way() {
    let lab = Lab::start().await;
    lab.node.set_gate(false);
    let create = lab.post("/v1/sandbox", json!({}));
    let delete = async {
        eventually!(listed(&lab, "starting").await.is_some());
        let id = listed(&lab, "starting").await.unwrap();
        lab.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
        lab.node.set_gate(true);
        id
    };
    let (answer, id) = tokio::join!(create, delete);
    assert!(answer.status.is_client_error(), "{}", answer.status);
    assert_eq!(lab.state(&id).await, "deleted");
    eventually!(!lab.node.has(&id));
}

#[tokio::test]
async fn requests_wait_for_a_sandbox_that_is_being_made() {
    let lab = Lab::start().await;
    lab.node.set_gate(false);
    lab.node.say([crate::support::Say::started(), crate::support::Say::exited(0)]);
    create_and_hang_up(&lab).await;
    let id = listed(&lab, "starting").await.unwrap();
    let path = format!("/v1/sandbox/{id}/process/execute");
    let execute = lab.post(&path, json!({"command": "true"}));
    let open = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(lab.node.inner.requests.lock().unwrap().is_empty());
        lab.node.set_gate(true);
    };
    let (answer, ()) = tokio::join!(execute, open);
    answer.expect(200);
}

#[tokio::test]
async fn a_create_the_node_never_settles_is_given_up() {
    let lab = Lab::with(control::Limits { create_wait: Duration::from_millis(300), ..Lab::limits() }).await;
    lab.node.set_gate(false);
    let answer = lab.post("/v1/sandbox", json!({})).await.expect(503);
    assert_eq!(answer.code(), "create_timed_out");
    assert_eq!(lab.get("/v1/sandboxes").await.json()["total_items"], 0);
    assert!(lab.node.inner.sandboxes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_orderly_stop_waits_for_requests_under_way() {
    let mut lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.say([
        crate::support::Say::started(),
        crate::support::Say::Wait(Duration::from_millis(150)),
        crate::support::Say::exited(0),
    ]);
    let body = br#"{"command": "true"}"#;
    let head = format!("content-length: {}\r\n", body.len());
    let mut stream = lab.raw("POST", &format!("/v1/sandbox/{id}/process/execute"), &head, body).await;
    eventually!(!lab.node.inner.requests.lock().unwrap().is_empty());
    lab.stop().await;
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("exit_code"), "{answer}");
}
