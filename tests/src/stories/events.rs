//! What became of sandboxes, and why.

use http::Method;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use testkit::lab::{Builder, Lab, eventually};
use testkit::machines::Kind;

use super::crash::machine;
use super::sse::Events;
use super::{run, sandbox, shown};

async fn follow(lab: &Lab, path: &str) -> Events {
    Events::open(lab, Method::GET, path, &[("accept", "text/event-stream")], json!({})).await
}

async fn states(lab: &Lab, id: &str) -> Vec<(String, Value)> {
    let page = lab.api.get(&format!("/v1/sandbox/{id}/events")).await.expect(200).json();
    page["items"].as_array().unwrap().iter().map(became).collect()
}

/// The state, and the reason if there is one.
fn became(event: &Value) -> (String, Value) {
    (event["state"].as_str().unwrap().to_owned(), event["reason"].clone())
}

pub async fn a_killed_engine_is_told_with_its_reason_to_whoever_listens(lab: Builder) {
    let mut lab = lab.start().await;
    let id = sandbox(&lab).await;
    let path = format!("/v1/sandbox/{id}/events");
    let mut early = follow(&lab, &path).await;
    let seen = [early.next().await.unwrap(), early.next().await.unwrap()];
    assert_eq!(
        seen.each_ref().map(became),
        [("starting".into(), Value::Null), ("running".into(), Value::Null)]
    );
    lab.stop_control().await;
    assert_eq!(early.next().await, None, "a server that stops ends its streams");
    kill_process(machine(&lab, &id).await, Signal::KILL).unwrap();
    lab.start_control().await.unwrap();
    let rest = follow(&lab, &format!("{path}?after={}", seen[1]["id"])).await.rest().await;
    let end = rest.last().expect("the end is told");
    assert_eq!(became(end), ("deleted".into(), json!("engine_lost")));
    assert!(end["reason_detail"].as_str().unwrap().contains("signal 9"), "{end}");
    assert_eq!(
        (&end["reason_detail"], end["sandbox_id"].as_str()),
        (&shown(&lab, &id).await["reason_detail"], Some(&*id))
    );
    let all = [&seen[..], &rest[..]].concat();
    assert_eq!(follow(&lab, &path).await.rest().await, all, "nothing is missed, and nothing told twice");
    assert_eq!(follow(&lab, &format!("{path}?after={}", end["id"])).await.rest().await, [] as [Value; 0]);
    lab.end().await;
}

pub async fn a_team_hears_of_all_its_sandboxes_in_order(lab: Builder) {
    let lab = lab.start().await;
    let mut events = follow(&lab, "/v1/events").await;
    let (one, two) = tokio::join!(sandbox(&lab), sandbox(&lab));
    for id in [&one, &two] {
        lab.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    }
    let mut heard = Vec::new();
    while heard.iter().filter(|event| became(event).0 == "deleted").count() < 2 {
        heard.push(events.next().await.unwrap());
    }
    assert!(heard.is_sorted_by_key(|event| event["id"].as_u64().unwrap()), "{heard:#?}");
    for id in [&one, &two] {
        let of_one: Vec<_> = heard.iter().filter(|event| event["sandbox_id"] == **id).map(became).collect();
        let deleted = json!("deleted");
        let expect = [
            ("starting", &Value::Null),
            ("running", &Value::Null),
            ("deleting", &deleted),
            ("deleted", &deleted),
        ];
        assert_eq!(of_one, expect.map(|(state, reason)| (state.to_owned(), reason.clone())));
        assert_eq!(states(&lab, id).await, of_one);
    }
    let page =
        lab.api.get(&format!("/v1/events?after={}&page-size=3", heard[0]["id"])).await.expect(200).json();
    assert_eq!((&page["items"], &page["next"]), (&json!(heard[1..4]), &heard[3]["id"]));
    lab.end().await;
}

pub async fn an_engine_that_ended_while_the_node_was_away_leaves_evidence(lab: Builder) {
    let mut lab = lab.start().await;
    let id = sandbox(&lab).await;
    let machine = machine(&lab, &id).await;
    run(&lab, &id, "true").await;
    lab.stop_node().await;
    kill_process(machine, Signal::KILL).unwrap();
    lab.start_node().await.unwrap();
    eventually("the death is seen", async || shown(&lab, &id).await["state"] == "deleted").await;
    let dead = shown(&lab, &id).await;
    assert_eq!(dead["reason"], "engine_lost", "{dead}");
    // The launcher is the parent of real machines and outlives the node; nobody was told of a fake one's end.
    let evidence = if lab.kind == Kind::Fake { "process ended" } else { "signal 9" };
    assert!(dead["reason_detail"].as_str().unwrap().contains(evidence), "{dead}");
    assert_eq!(states(&lab, &id).await.last().unwrap(), &("deleted".to_owned(), json!("engine_lost")));
    lab.end().await;
}

pub async fn a_host_that_was_restarted_is_told_apart_from_a_crash(lab: Builder) {
    let mut lab = lab.start().await;
    let id = sandbox(&lab).await;
    lab.stop_node().await;
    // As the record of a sandbox that ran in another boot.
    let path = lab.dir().join(format!("records/{id}.json"));
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let boot = record["boot_id"].take();
    record["boot_id"] = json!("another");
    std::fs::write(&path, record.to_string()).unwrap();
    lab.start_node().await.unwrap();
    eventually("the death is seen", async || shown(&lab, &id).await["state"] == "deleted").await;
    let dead = shown(&lab, &id).await;
    assert_eq!(dead["reason"], "host_restarted", "{dead}");
    let evidence = dead["reason_detail"].as_str().unwrap();
    assert!(evidence.contains("another") && evidence.contains(boot.as_str().unwrap()), "{dead}");
    assert_eq!(states(&lab, &id).await.last().unwrap(), &("deleted".to_owned(), json!("host_restarted")));
    lab.end().await;
}
