//! What became of sandboxes: pages and streams.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use wire::id::SandboxId;
use wire::sandbox::Reason;

use crate::eventually;
use crate::support::{Answer, Lab};

async fn page(lab: &Lab, path: &str) -> Value {
    lab.get(path).await.expect(200).json()
}

async fn of(lab: &Lab, id: &SandboxId) -> Vec<Value> {
    page(lab, &format!("/v1/sandbox/{id}/events")).await["items"].as_array().unwrap().clone()
}

async fn streamed(lab: &Lab, path: &str, headers: &[(&str, &str)]) -> Answer {
    let headers = [&[("authorization", lab.key.as_str()), ("accept", "text/event-stream")], headers].concat();
    let answer = lab.call("GET", path, &headers, "").await.expect(200);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    answer
}

/// The events of a stream; each has its number as the SSE id.
fn parsed(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    let events = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")?.split_once("\nid: "));
    let check = |(json, id): (&str, &str)| {
        let event: Value = serde_json::from_str(json).unwrap();
        assert_eq!(event["id"].to_string(), id);
        event
    };
    events.map(check).collect()
}

#[tokio::test]
async fn every_change_of_state_is_an_event_with_its_time_and_reason() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.pass(Duration::from_secs(7));
    lab.node.kill(&id, Reason::OutOfMemory, "signal 9");
    eventually!(lab.state(&id).await == "deleted");
    let events = of(&lab, &id).await;
    let ids: Vec<_> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    let expect = [
        json!({"id": ids[0], "sandbox_id": id, "state": "starting", "at": "2023-11-14T22:13:20Z"}),
        json!({"id": ids[1], "sandbox_id": id, "state": "running", "at": "2023-11-14T22:13:20Z"}),
        json!({"id": ids[2], "sandbox_id": id, "state": "deleted", "at": "2023-11-14T22:13:27Z",
            "reason": "out_of_memory", "reason_detail": "signal 9"}),
    ];
    assert_eq!(events, expect);
    assert!(ids.is_sorted());
}

#[tokio::test]
async fn a_create_that_fails_and_a_delete_say_why() {
    use wire::node::{NodeError, NodeErrorCode};
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    let told = |events: &[Value]| -> Vec<String> {
        events
            .iter()
            .map(|event| format!("{} {}", event["state"], event["reason"]).replace('"', ""))
            .collect()
    };
    assert_eq!(
        told(&of(&lab, &id).await),
        ["starting null", "running null", "deleting deleted", "deleted deleted"]
    );
    *lab.node.inner.refuse_puts.lock().unwrap() = Some(NodeError::new(NodeErrorCode::EngineFailed, "broke"));
    lab.post("/v1/sandbox", json!({})).await.expect(500);
    let all = page(&lab, "/v1/events?page-size=100").await;
    let failed = &all["items"].as_array().unwrap()[4..];
    assert_eq!(told(failed), ["starting null", "deleting create_failed", "deleted create_failed"]);
    assert_eq!(failed[2]["reason_detail"], "broke");
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_one_ended() {
    let lab = Lab::start().await;
    for _ in 0..3 {
        lab.sandbox().await;
    }
    let all = page(&lab, "/v1/events?page-size=100").await;
    let (mut after, mut read) = (0, Vec::new());
    loop {
        let next = page(&lab, &format!("/v1/events?after={after}&page-size=4")).await;
        let items = next["items"].as_array().unwrap();
        if items.is_empty() {
            assert_eq!(next["next"], after);
            break;
        }
        read.extend_from_slice(items);
        after = next["next"].as_u64().unwrap();
    }
    assert_eq!((json!(read), read.len()), (all["items"].clone(), 6));
    let bad = lab.get("/v1/events?after=x&page-size=0&follow=maybe").await.expect(400);
    assert_eq!(bad.wrong_fields(), ["follow", "page-size", "after"]);
}

#[tokio::test]
async fn a_stream_of_a_sandbox_ends_with_it_and_resumes_anywhere() {
    let mut lab = Lab::start().await;
    let id = lab.sandbox().await;
    let path = format!("/v1/sandbox/{id}/events");
    let (streaming, ()) = tokio::join!(streamed(&lab, &path, &[]), async {
        lab.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    });
    let events = of(&lab, &id).await;
    assert_eq!(parsed(&streaming), events);
    lab.crash_and_restart().await;
    for seen in 0..=events.len() {
        let last = if seen == 0 { "0".to_owned() } else { events[seen - 1]["id"].to_string() };
        let rest = streamed(&lab, &format!("{path}?after=0"), &[("last-event-id", &last)]).await;
        assert_eq!(parsed(&rest), events[seen..]);
        let rest = lab.get(&format!("{path}?follow=true&after={last}")).await.expect(200);
        assert_eq!(parsed(&rest), events[seen..]);
    }
}

#[tokio::test]
async fn a_stream_of_a_team_tells_what_happens_and_is_kept_alive() {
    let lab = Lab::start().await;
    let mut stream = lab.raw("GET", "/v1/events?follow=true", "", b"").await;
    let (mut heard, mut buffer) = (String::new(), [0; 4096]);
    let id = lab.sandbox().await;
    while !(heard.contains("running") && heard.ends_with(": ping\n\n\r\n")) {
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buffer)).await;
        let count = read.expect("nothing is heard").unwrap();
        heard.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    assert!(heard.contains(id.as_str()) && heard.contains("starting"), "{heard}");
}

#[tokio::test]
async fn another_teams_events_are_not_heard() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let theirs = lab.with_key(&lab.other_key, "GET", "/v1/events", "").await.expect(200).json();
    assert_eq!(theirs, json!({"items": [], "next": 0}));
    for query in ["", "?follow=true"] {
        lab.with_key(&lab.other_key, "GET", &format!("/v1/sandbox/{id}/events{query}"), "").await.expect(404);
    }
}

#[tokio::test]
async fn events_are_kept_with_the_record_and_then_for_a_while() {
    let limits = control::Limits { event_retention: Duration::from_secs(10 * 60 * 60), ..Lab::limits() };
    let lab = Lab::with(limits).await;
    let (gone, kept) = (lab.sandbox().await, lab.sandbox().await);
    lab.delete(&format!("/v1/sandbox/{gone}")).await.expect(204);
    lab.pass(Duration::from_secs(2 * 60 * 60));
    eventually!(lab.get(&format!("/v1/sandbox/{gone}/events")).await.status == 404);
    assert_eq!(page(&lab, "/v1/events").await["items"].as_array().unwrap().len(), 6);
    lab.pass(Duration::from_secs(9 * 60 * 60));
    eventually!(page(&lab, "/v1/events").await["items"].as_array().unwrap().len() == 2);
    assert_eq!(of(&lab, &kept).await.len(), 2);
    // What has been seen is not seen again, though it is no longer kept.
    let next = lab.sandbox().await;
    let later = page(&lab, "/v1/events?after=6").await;
    assert_eq!(later["items"].as_array().unwrap().len(), 2);
    assert_eq!(later["items"][0]["sandbox_id"], json!(next));
}

#[tokio::test]
async fn a_team_with_events_can_be_removed() {
    let lab = Lab::start().await;
    let made = lab.post("/v1/team", json!({"name": "short-lived"})).await.expect(201).json();
    let team = made["id"].as_str().unwrap();
    let key = lab.new_key(json!({"name": "theirs", "team": team})).await.1;
    let id = lab.with_key(&key, "POST", "/v1/sandbox", "{}").await.expect(201).id();
    lab.with_key(&key, "DELETE", &format!("/v1/sandbox/{id}"), "").await.expect(204);
    lab.delete(&format!("/v1/team/{team}")).await.expect(204);
}
