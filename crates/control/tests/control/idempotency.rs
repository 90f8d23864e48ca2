//! The same request twice is one sandbox.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use wire::node::{NodeError, NodeErrorCode};

use crate::eventually;
use crate::support::{Answer, Lab};

async fn create(lab: &Lab, key: &str, body: &str) -> Answer {
    lab.call("POST", "/v1/sandbox", &[("authorization", &lab.key), ("idempotency-key", key)], body.to_owned())
        .await
}

#[tokio::test]
async fn many_at_once_make_one_sandbox() {
    let lab = Lab::start().await;
    lab.node.set_gate(false);
    let creates = join_all((0..8).map(|_| create(&lab, "k1", r#"{"vcpu": 1, "memory": 512}"#)));
    let open = async {
        eventually!(lab.node.puts() == 1);
        lab.node.set_gate(true);
    };
    let (answers, ()) = tokio::join!(creates, open);
    let ids: Vec<_> = answers.into_iter().map(|answer| answer.expect(201).id()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(lab.node.puts(), 1);
    // The same fields in another order are the same request.
    assert_eq!(create(&lab, "k1", r#"{ "memory": 512, "vcpu": 1 }"#).await.expect(201).id(), ids[0]);
}

#[tokio::test]
async fn another_request_with_the_key_is_refused_and_another_team_is_not_concerned() {
    let lab = Lab::start().await;
    let id = create(&lab, "k1", "{}").await.expect(201).id();
    assert_eq!(create(&lab, "k1", r#"{"vcpu": 2}"#).await.expect(422).code(), "idempotency_key_reused");
    let headers = [("authorization", lab.other_key.as_str()), ("idempotency-key", "k1")];
    assert_ne!(lab.call("POST", "/v1/sandbox", &headers, r#"{"vcpu": 2}"#).await.expect(201).id(), id);
    for bad in ["", " ", "a b", &"x".repeat(256)] {
        assert_eq!(create(&lab, bad, "{}").await.expect(400).wrong_fields(), ["Idempotency-Key"], "{bad:?}");
    }
    create(&lab, &"x".repeat(255), "{}").await.expect(201);
}

#[tokio::test]
async fn a_repeat_after_a_crash_finds_the_sandbox() {
    let mut lab = Lab::start().await;
    lab.node.set_gate(false);
    {
        let first = create(&lab, "k1", "{}");
        tokio::pin!(first);
        tokio::select! {
            _ = &mut first => panic!("answered while the node was still at work"),
            () = async { eventually!(lab.node.puts() == 1) } => {}
        }
    }
    lab.crash_and_restart().await;
    let lab = Arc::new(lab);
    let again = tokio::spawn({
        let lab = lab.clone();
        async move { create(&lab, "k1", "{}").await.expect(201).id() }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    lab.node.set_gate(true);
    let id = again.await.unwrap();
    assert!(lab.node.has(&id));
    assert_eq!(lab.get("/v1/sandboxes").await.json()["total_items"], 1);
}

#[tokio::test]
async fn a_failure_is_repeated_too() {
    let lab = Lab::start().await;
    let refusal = NodeError::new(NodeErrorCode::EngineFailed, "the engine did not start");
    *lab.node.inner.refuse_puts.lock().unwrap() = Some(refusal);
    let first = create(&lab, "k1", "{}").await.expect(500);
    *lab.node.inner.refuse_puts.lock().unwrap() = None;
    let second = create(&lab, "k1", "{}").await.expect(500);
    assert_eq!(first.json(), second.json());
    assert!(first.message().contains("the engine did not start"));
    create(&lab, "k2", "{}").await.expect(201);
}

#[tokio::test]
async fn a_refusal_for_want_of_room_is_not_remembered() {
    let lab = Lab::start().await;
    let capacity = std::mem::take(&mut *lab.node.inner.capacity.lock().unwrap());
    lab.get("/v1/nodes").await.expect(200);
    let answer = create(&lab, "k1", "{}").await.expect(503);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(answer.code(), "no_capacity");
    *lab.node.inner.capacity.lock().unwrap() = capacity;
    lab.get("/v1/nodes").await.expect(200);
    create(&lab, "k1", "{}").await.expect(201);
}

#[tokio::test]
async fn a_key_outlives_the_sandbox_and_is_forgotten_after_a_day() {
    let lab = Lab::start().await;
    let id = create(&lab, "k1", "{}").await.expect(201).id();
    lab.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    lab.pass(Duration::from_secs(2 * 60 * 60));
    lab.get(&format!("/v1/sandbox/{id}")).await.expect(404);
    // Give the sweep time to forget too much, if it does.
    tokio::time::sleep(lab.limits.sweep_interval * 3).await;
    let again = create(&lab, "k1", "{}").await.expect(201);
    assert_eq!((again.id(), &again.json()["state"]), (id.clone(), &json!("deleted")));
    lab.pass(Duration::from_secs(24 * 60 * 60));
    assert_ne!(create(&lab, "k1", "{}").await.expect(201).id(), id);
}
