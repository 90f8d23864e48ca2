//! What is under way in a sandbox that is paused, or of which a snapshot is taken: whoever waits for it is answered later.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use testkit::http::Answer;
use testkit::lab::{Builder, Lab, eventually};
use tokio::task::JoinHandle;

use super::pause::pause;
use super::sse::Events;
use super::{PATIENCE_SECONDS, read, run, sandbox, shown};

/// Counts until it is told to stop; a number that is left out or comes twice is seen by [`assert_counted`].
const COUNT: &str = "touch begun; i=0; until test -e go; do i=$((i+1)); echo $i; sleep 0.002; done; exit 7";

/// A command that somebody waits for, while other things happen.
fn waits_for(lab: &Lab, id: &str, body: Value) -> JoinHandle<Answer> {
    let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{id}/process/execute"));
    tokio::spawn(async move { api.post(&path, body).await })
}

async fn begun(lab: &Lab, id: &str) {
    let begun = async || read(lab, id, json!({ "path": "begun" })).await.status == 200;
    eventually("it has begun", begun).await;
}

/// Whether these are the numbers from 1 on, each once.
fn assert_counted(said: &str) {
    let numbers: Vec<u64> = said.lines().map(|line| line.parse().unwrap()).collect();
    let count = numbers.len() as u64;
    assert!(count > 0 && numbers == Vec::from_iter(1..=count), "{said}");
}

fn assert_executed(answer: Answer) {
    let answer = answer.expect(200).json();
    assert_eq!(answer["exit_code"], 7, "{answer}");
    assert_counted(answer["stdout"].as_str().unwrap());
}

/// What the events of a stream say, when their numbers are as they should be.
fn said(events: &[Value]) -> String {
    let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    let first = numbers[0];
    assert_eq!(numbers, Vec::from_iter(first..first + events.len() as u64), "{events:?}");
    let data = events.iter().filter(|event| event["type"] == "stdout");
    let bytes = data.flat_map(|event| STANDARD.decode(event["data"].as_str().unwrap()).unwrap()).collect();
    String::from_utf8(bytes).unwrap()
}

pub async fn a_command_that_is_paused_in_its_middle_is_answered_with_every_line_once(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let waits = waits_for(&lab, &id, json!({ "command": COUNT, "timeout": PATIENCE_SECONDS }));
    begun(&lab, &id).await;
    for _ in 0..2 {
        pause(&lab, &id).await;
        // Who waits does not wake it.
        assert_eq!(shown(&lab, &id).await["state"], "paused");
        run(&lab, &id, "true").await;
    }
    assert!(!waits.is_finished(), "it was answered too early");
    run(&lab, &id, "touch go").await;
    assert_executed(waits.await.unwrap());
    lab.end().await;
}

pub async fn a_stream_that_is_paused_in_its_middle_goes_on_with_every_event_once(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let stream = |path: &str, method: Method, body: Value| {
        let path = format!("/v1/sandbox/{id}/process/{path}");
        let lab = &lab;
        async move { Events::open(lab, method, &path, &[], body).await }
    };
    let mut events = stream("stream", Method::POST, json!({ "command": COUNT })).await;
    let mut before = vec![events.next().await.unwrap(), events.next().await.unwrap()];
    let start = json!({ "command": COUNT, "id": "kept" });
    lab.api.post(&format!("/v1/sandbox/{id}/process/start"), start).await.expect(201);
    let attached = stream("kept/attach", Method::GET, json!({})).await;
    pause(&lab, &id).await;
    run(&lab, &id, "touch go").await;
    before.extend(events.rest().await);
    for events in [before, attached.rest().await] {
        assert_counted(&said(&events));
        let last = events.last().unwrap();
        assert_eq!((&last["type"], &last["exit_code"]), (&json!("exit"), &json!(7)), "{last}");
    }
    lab.end().await;
}

pub async fn input_of_a_command_arrives_once_although_it_is_paused(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    // More than is on its way at once.
    let input: String = (0..40_000).map(|number| format!("line {number}\n")).collect();
    let command = "touch begun; until test -e go; do sleep 0.01; done; cat";
    let body = json!({ "command": command, "stdin": input, "timeout": PATIENCE_SECONDS });
    let waits = waits_for(&lab, &id, body);
    begun(&lab, &id).await;
    pause(&lab, &id).await;
    run(&lab, &id, "touch go").await;
    let answer = waits.await.unwrap().expect(200).json();
    assert_eq!(answer["exit_code"], 0);
    // Compared without printing: a failure need not show all of it.
    let said = answer["stdout"].as_str().unwrap();
    assert!(said == input, "{} bytes came of {}", said.len(), input.len());
    lab.end().await;
}

pub async fn a_command_goes_on_over_snapshots_of_its_sandbox(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let waits = waits_for(&lab, &id, json!({ "command": COUNT, "timeout": PATIENCE_SECONDS }));
    begun(&lab, &id).await;
    for name in ["one", "two"] {
        let path = format!("/v1/sandbox/{id}/snapshot/create");
        lab.api.post(&path, json!({ "name": name })).await.expect(201);
    }
    assert!(!waits.is_finished(), "it was answered too early");
    run(&lab, &id, "touch go").await;
    assert_executed(waits.await.unwrap());
    lab.end().await;
}

pub async fn who_waits_for_a_sandbox_that_is_deleted_meanwhile_is_told_so(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let waits = {
        let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{id}/process/execute"));
        let body = json!({ "command": COUNT, "timeout": PATIENCE_SECONDS }).to_string();
        tokio::spawn(async move { api.attempt(Method::POST, &path, body).await })
    };
    begun(&lab, &id).await;
    pause(&lab, &id).await;
    lab.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    // On a busy host its answer has begun by then, and is cut off.
    if let Some(told) = waits.await.unwrap() {
        let code = told.json()["code"].to_string();
        assert!(code.contains("sandbox_delet"), "{told:?}");
    }
    lab.end().await;
}

/// What ended between two pauses is told of again after the second, by an engine that forgets nothing; the memory is
/// something else's by then.
pub async fn what_an_agent_forgot_between_two_pauses_does_not_mislead_it(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let body = json!({ "command": "touch begun; until test -e go; do sleep 0.02; done", "timeout": PATIENCE_SECONDS });
    let waiting: Vec<_> = (0..12).map(|_| waits_for(&lab, &id, body.clone())).collect();
    begun(&lab, &id).await;
    pause(&lab, &id).await;
    run(&lab, &id, "touch go").await;
    for waits in waiting {
        waits.await.unwrap().expect(200);
    }
    for length in (150..500).step_by(12) {
        let command = format!("sleep 1000 #{}", "v".repeat(length));
        let path = format!("/v1/sandbox/{id}/process/start");
        lab.api.post(&path, json!({ "command": command })).await.expect(201);
    }
    for _ in 0..2 {
        pause(&lab, &id).await;
        run(&lab, &id, "true").await;
    }
    lab.end().await;
}
