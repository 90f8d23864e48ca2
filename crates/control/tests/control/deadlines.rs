//! When a sandbox's time is up, changed while it runs.

use std::time::Duration;

use serde_json::{Value, json};
use wire::id::SandboxId;
use wire::node::{NodeError, NodeErrorCode, PutDeadline};
use wire::sandbox::{Reason, State};

use crate::eventually;
use crate::support::{Answer, Lab};

/// When the clock of a lab starts, in Unix seconds.
const START: u64 = 1_700_000_000;

async fn change(lab: &Lab, id: &SandboxId, body: Value) -> Answer {
    lab.post(&format!("/v1/sandbox/{id}/timeout"), body).await
}

fn times(sandbox: &Value) -> (u64, u64) {
    (sandbox["timeout"].as_u64().unwrap(), sandbox["timeout_at"].as_u64().unwrap() - START)
}

#[tokio::test]
async fn time_is_set_from_now_and_extended_from_what_was_planned() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.pass(Duration::from_secs(100));
    for _ in 0..2 {
        let set = change(&lab, &id, json!({"timeout": 600})).await.expect(200).json();
        assert_eq!((times(&set), &set["state"]), ((600, 700), &json!("running")));
    }
    let extended = change(&lab, &id, json!({"extend": 60})).await.expect(200).json();
    assert_eq!(times(&extended), (660, 760));
    assert_eq!(lab.get(&format!("/v1/sandbox/{id}")).await.json(), extended);
    let told = lab.node.inner.deadlines.lock().unwrap().clone();
    let expect = [(2, 600), (3, 600), (4, 660)]
        .map(|(generation, seconds)| PutDeadline { generation, ends_in_ms: seconds * 1000 });
    assert_eq!(told, expect);

    let answer = change(&lab, &id, json!({"extend": 28_800})).await.expect(400);
    assert_eq!(answer.wrong_fields(), ["extend"]);
    assert!(
        answer.message().contains("28800 s") && answer.message().contains("at most 28140"),
        "{}",
        answer.message()
    );
    change(&lab, &id, json!({"extend": 28_140})).await.expect(200);
    change(&lab, &id, json!({})).await.expect(400);
    change(&lab, &id, json!({"timeout": 1, "extend": 1})).await.expect(400);
}

#[tokio::test]
async fn two_extensions_at_once_are_both_counted() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let extend = || change(&lab, &id, json!({"extend": 100}));
    let (one, two, three) = tokio::join!(extend(), extend(), extend());
    for answer in [one, two, three] {
        answer.expect(200);
    }
    assert_eq!(times(&lab.get(&format!("/v1/sandbox/{id}")).await.json()), (600, 600));
    let newest = lab.node.inner.sandboxes.lock().unwrap()[&id].clone();
    assert_eq!((newest.generation, newest.timeout_at_ms), (4, Some((START + 600) * 1000)));
}

#[tokio::test]
async fn a_wish_that_was_stored_is_told_after_a_crash_with_the_time_that_is_left() {
    let mut lab = Lab::start().await;
    let id = lab.sandbox().await;
    let refusal = NodeError::new(NodeErrorCode::Internal, "its disk is full");
    *lab.node.inner.refuse_deadlines.lock().unwrap() = Some(refusal);
    let answer = change(&lab, &id, json!({"timeout": 1000})).await.expect(500);
    assert!(answer.message().contains("disk is full"), "{}", answer.message());
    lab.pass(Duration::from_secs(10));
    *lab.node.inner.refuse_deadlines.lock().unwrap() = None;
    lab.crash_and_restart().await;
    eventually!(lab.node.inner.sandboxes.lock().unwrap()[&id].generation == 2);
    let ends_in_ms = lab.node.inner.deadlines.lock().unwrap().last().unwrap().ends_in_ms;
    assert_eq!(ends_in_ms, 990_000);
    assert_eq!(times(&lab.get(&format!("/v1/sandbox/{id}")).await.json()), (1000, 1000));
}

#[tokio::test]
async fn one_that_ends_meanwhile_is_gone_with_its_reason() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let refusal = NodeError::new(NodeErrorCode::WrongState, "the sandbox is deleting: timeout");
    *lab.node.inner.refuse_deadlines.lock().unwrap() = Some(refusal);
    let (answer, ()) = tokio::join!(change(&lab, &id, json!({"timeout": 60})), async {
        eventually!(!lab.node.inner.deadlines.lock().unwrap().is_empty());
        lab.node.kill(&id, Reason::Timeout, "");
    });
    let answer = answer.expect(404);
    assert_eq!(answer.code(), "sandbox_deleted");
    assert!(answer.message().contains("timeout"), "{}", answer.message());
    assert_eq!(lab.state(&id).await, "deleted");
    change(&lab, &id, json!({"timeout": 60})).await.expect(404);
}

#[tokio::test]
async fn a_node_that_has_seen_more_than_the_store_is_outranked() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.inner.sandboxes.lock().unwrap().get_mut(&id).unwrap().generation = 7;
    change(&lab, &id, json!({"timeout": 60})).await.expect(200);
    assert!(lab.node.inner.sandboxes.lock().unwrap()[&id].generation > 7);
    assert_eq!(times(&lab.get(&format!("/v1/sandbox/{id}")).await.json()), (60, 60));
    assert_eq!(lab.node.inner.sandboxes.lock().unwrap()[&id].state, State::Running);
}
