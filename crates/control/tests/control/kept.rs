//! Processes with an id, batches, and sandboxes made to run something.

use serde_json::{Value, json};
use wire::guest::process::{ProcessCall, ProcessInfo};
use wire::guest::{Done, Error, ErrorCode, ExecCause, ExecEnd, Head, Request};
use wire::id::SandboxId;

use crate::processes::events;
use crate::support::{Answer, Lab, Say};

fn attached(from: u64) -> Say {
    Say::Head(Head::Attached { pid: 7, from })
}

fn info(end: Option<ExecEnd>) -> ProcessInfo {
    ProcessInfo {
        id: "a".into(),
        pid: 7,
        command: "x".into(),
        cwd: "/".into(),
        started_at_ms: 1_700_000_000_000,
        ended_at_ms: end.as_ref().map(|_| 1_700_000_001_000),
        end,
        first_piece: 2,
        next_piece: 5,
        stdin: true,
    }
}

fn said(infos: Vec<ProcessInfo>) -> Say {
    Say::End(Ok(Done::Processes(infos)))
}

fn refused(code: ErrorCode) -> Say {
    Say::End(Err(Error::new(code, "no")))
}

fn requests(lab: &Lab) -> Vec<Request> {
    lab.node.inner.requests.lock().unwrap().clone()
}

async fn attach(lab: &Lab, id: &SandboxId, query: &str, headers: &[(&str, &str)]) -> Answer {
    let path = format!("/v1/sandbox/{id}/process/a/attach{query}");
    let headers = [&[("authorization", lab.key.as_str())], headers].concat();
    lab.call("GET", &path, &headers, "").await
}

fn told(answer: &Answer) -> Value {
    events(&String::from_utf8_lossy(&answer.body)).into()
}

#[tokio::test]
async fn events_have_the_numbers_of_the_agents_pieces() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.say([attached(0), Say::out("hi"), Say::Err("oh".into()), Say::exited(1)]);
    let all = json!([
        {"seq": 0, "type": "started", "pid": 7, "id": "a"},
        {"seq": 1, "type": "stdout", "data": "aGk="},
        {"seq": 2, "type": "stderr", "data": "b2g="},
        {"seq": 3, "type": "exit", "exit_code": 1, "how": "exited"},
    ]);
    assert_eq!(told(&attach(&lab, &id, "", &[]).await.expect(200)), all);
    let body = json!({"command": "x", "on_disconnect": "detach", "id": "a"});
    let streamed = lab.post(&format!("/v1/sandbox/{id}/process/stream"), body).await.expect(200);
    assert_eq!(told(&streamed), all);
    let Some(Request::Exec(exec)) = requests(&lab).pop() else { panic!("not a command") };
    assert_eq!((exec.id.as_deref(), exec.timeout_ms, exec.stdin), (Some("a"), Some(30_000), false));
}

#[tokio::test]
async fn a_listener_that_comes_back_is_told_the_rest_and_what_is_gone() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.say([attached(4), Say::out("hi"), Say::exited(0)]);
    let rest = json!([
        {"seq": 5, "type": "stdout", "data": "aGk="},
        {"seq": 6, "type": "exit", "exit_code": 0, "how": "exited"},
    ]);
    let last = [("last-event-id", "4")];
    for (query, headers) in [("?after=4", &[][..]), ("", &last), ("?after=1", &last)] {
        assert_eq!(told(&attach(&lab, &id, query, headers).await.expect(200)), rest, "{query}");
        let Some(Request::Process(call)) = requests(&lab).pop() else { panic!("no call") };
        assert_eq!(call, ProcessCall::Attach { id: "a".into(), from: 4 });
    }
    let gap = told(&attach(&lab, &id, "?after=1", &[]).await.expect(200));
    assert_eq!(gap[0], json!({"seq": 4, "type": "gap", "missed": 3}));
    assert_eq!(gap[1], rest[0]);
    let from_the_start = told(&attach(&lab, &id, "", &[]).await.expect(200));
    assert_eq!(from_the_start[0]["type"], "started");
    assert_eq!(from_the_start[1], json!({"seq": 4, "type": "gap", "missed": 4}));
    let future = attach(&lab, &id, "?after=6", &[]).await.expect(400);
    assert_eq!(future.wrong_fields(), ["after"]);
    assert_eq!(attach(&lab, &id, "?after=x", &[]).await.expect(400).wrong_fields(), ["after"]);
}

#[tokio::test]
async fn whoever_has_seen_the_end_is_told_it_again() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.say([attached(4), Say::exited(0)]);
    let end = json!([{"seq": 5, "type": "exit", "exit_code": 0, "how": "exited"}]);
    for query in ["?after=4", "?after=5"] {
        assert_eq!(told(&attach(&lab, &id, query, &[]).await.expect(200)), end);
    }
}

#[tokio::test]
async fn an_error_is_no_end_and_skips_nothing() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    for (last, code) in [(refused(ErrorCode::Stalled), "stalled"), (Say::Cut, "connection_broken")] {
        lab.node.say([attached(4), Say::out("hi"), last]);
        let told = told(&attach(&lab, &id, "?after=4", &[]).await.expect(200));
        assert_eq!(
            (&told[1]["type"], &told[1]["code"], &told[1]["seq"]),
            (&json!("error"), &json!(code), &json!(5))
        );
    }
}

#[tokio::test]
async fn a_process_is_shown_with_the_numbers_of_its_events() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.say([said(vec![info(None)])]);
    let running = json!({
        "id": "a", "pid": 7, "command": "x", "cwd": "/", "state": "running",
        "started_at": "2023-11-14T22:13:20Z", "first_seq": 3, "last_seq": 5, "stdin": true,
    });
    let path = format!("/v1/sandbox/{id}/process/a");
    assert_eq!(lab.get(&path).await.expect(200).json(), running);
    let list = lab.get(&format!("/v1/sandbox/{id}/processes")).await.expect(200);
    assert_eq!(list.json(), json!({ "items": [running] }));
    let end = ExecEnd { exit_code: None, signal: Some(15), cause: ExecCause::Itself };
    lab.node.say([said(vec![info(Some(end))])]);
    let ended = lab.get(&path).await.expect(200).json();
    assert_eq!(
        (&ended["state"], &ended["exit_code"], &ended["signal"]),
        (&json!("ended"), &json!(143), &json!(15))
    );
    assert_eq!((&ended["how"], &ended["last_seq"]), (&json!("signal"), &json!(6)));
}

#[tokio::test]
async fn what_is_no_process_is_not_found() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.say([refused(ErrorCode::NotFound)]);
    let process = format!("/v1/sandbox/{id}/process");
    for name in ["gone", "..%2Fsandbox", "a%20b", "%FF", &"x".repeat(65)] {
        let known = requests(&lab).len();
        let answers = [
            lab.get(&format!("{process}/{name}")).await,
            lab.get(&format!("{process}/{name}/attach")).await,
            lab.delete(&format!("{process}/{name}")).await,
            lab.post(&format!("{process}/{name}/signal"), json!({"signal": 9})).await,
            lab.post(&format!("{process}/{name}/wait"), json!({})).await,
            lab.post(&format!("{process}/{name}/stdin"), json!({})).await,
        ];
        for answer in answers {
            assert_eq!(answer.expect(404).code(), "not_found", "{name}");
        }
        assert_eq!(requests(&lab).len() > known, name == "gone", "{name} reached the agent");
    }
}

#[tokio::test]
async fn a_wait_that_is_over_shows_what_is() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let path = format!("/v1/sandbox/{id}/process/a/wait");
    lab.node.say([Say::Hang]);
    // The wait ends before the end, and then the agent is asked what is.
    let answer = lab.post(&path, json!({"timeout": 1}));
    let look = async {
        crate::eventually!(!requests(&lab).is_empty());
        lab.node.say([said(vec![info(None)])]);
    };
    let (answer, ()) = tokio::join!(answer, look);
    assert_eq!(answer.expect(200).json()["state"], "running");
    assert_eq!(lab.post(&path, json!({"timeout": 0})).await.expect(400).wrong_fields(), ["timeout"]);
}

#[tokio::test]
async fn signals_have_names_and_numbers() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.say([Say::End(Ok(Done::Nothing))]);
    let path = format!("/v1/sandbox/{id}/process/a/signal");
    for signal in [json!("TERM"), json!("SIGTERM"), json!(15)] {
        lab.post(&path, json!({ "signal": signal })).await.expect(204);
        let Some(Request::Process(call)) = requests(&lab).pop() else { panic!("no call") };
        assert_eq!(call, ProcessCall::Signal { id: "a".into(), signal: 15 });
    }
    for signal in [json!("NONE"), json!(0), json!(null)] {
        assert_eq!(lab.post(&path, json!({ "signal": signal })).await.expect(400).wrong_fields(), ["signal"]);
    }
}

#[tokio::test]
async fn a_batch_tells_what_came_of_each() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let path = format!("/v1/sandbox/{id}/process/batch");
    let commands = json!([{"command": "a"}, {"command": "b"}, {"argv": ["c"]}]);
    lab.node.say([Say::started(), Say::out("hi"), Say::exited(3)]);
    let failed = json!({"exit_code": 3, "stdout": "hi", "stderr": ""});
    for parallel in [false, true] {
        let all =
            lab.post(&path, json!({"commands": commands, "parallel": parallel})).await.expect(200).json();
        assert_eq!(all, json!({ "items": [failed, failed, failed] }));
    }
    let before = requests(&lab).len();
    let stopped =
        lab.post(&path, json!({"commands": commands, "stop_on_error": true})).await.expect(200).json();
    assert_eq!(stopped["items"][0], failed);
    for skipped in [1, 2] {
        assert_eq!(stopped["items"][skipped]["error"]["code"], "not_run");
    }
    assert_eq!(requests(&lab).len(), before + 1);
    lab.node.say([Say::started(), Say::Cut]);
    let broken = lab.post(&path, json!({"commands": [{"command": "a"}]})).await.expect(200).json();
    assert_eq!(broken["items"][0]["error"]["code"], "connection_broken");
    let before = requests(&lab).len();
    let wrong = lab.post(&path, json!({"commands": [{"command": "a"}, {"argv": []}]})).await.expect(400);
    assert_eq!(wrong.wrong_fields(), ["commands[1].argv"]);
    assert_eq!(requests(&lab).len(), before, "something was run before all was checked");
    let elsewhere = path.replace(id.as_str(), &format!("sbx-{}", "a".repeat(20)));
    lab.post(&elsewhere, json!({"commands": [{"command": "a"}]})).await.expect(404);
}

#[tokio::test]
async fn a_sandbox_is_made_and_runs_something_once() {
    let lab = Lab::start().await;
    lab.node.say([Say::started(), Say::out("hi"), Say::exited(0)]);
    let body = json!({"run": {"command": "echo hi"}}).to_string();
    let headers = [("authorization", lab.key.as_str()), ("idempotency-key", "once")];
    let made = lab.call("POST", "/v1/sandbox", &headers, body.clone()).await.expect(201);
    assert_eq!(made.json()["executed"], json!({"exit_code": 0, "stdout": "hi", "stderr": ""}));
    assert_eq!(made.json()["state"], "running");
    let again = lab.call("POST", "/v1/sandbox", &headers, body).await.expect(201);
    assert_eq!((again.id(), again.json().get("executed")), (made.id(), None));
    assert_eq!(requests(&lab).len(), 1, "it ran twice");

    let wrong = lab.post("/v1/sandbox", json!({"vcpu": 99, "run": {"timeout": 0}})).await.expect(400);
    assert_eq!(wrong.wrong_fields(), ["vcpu", "run.command", "run.timeout"]);
    assert_eq!(lab.node.puts(), 1, "something was made of a request that is wrong");

    lab.node.say([refused(ErrorCode::NotFound)]);
    let unable = lab.post("/v1/sandbox", json!({"run": {"argv": ["none"]}})).await.expect(201).json();
    assert_eq!(unable["executed"]["error"]["code"], "file_not_found");
    assert_eq!(unable["state"], "running");
}

#[tokio::test]
async fn a_long_run_keeps_the_client_of_a_create_alive() {
    let lab = Lab::start().await;
    lab.node.say([Say::started(), Say::Wait(lab.limits.keep_alive * 3), Say::exited(0)]);
    let made = lab.post("/v1/sandbox", json!({"run": {"command": "x"}})).await.expect(201);
    assert!(made.body.starts_with(b" "));
    assert_eq!(made.json()["executed"]["exit_code"], 0);
}
