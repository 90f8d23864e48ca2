//! Commands: what they say, how they end, and what is never made up.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use wire::guest::{Command, Error, ErrorCode, ExecCause, Request};

use crate::support::{Answer, Lab, Say};

async fn execute(lab: &Lab, body: Value) -> Answer {
    let id = lab.sandbox().await;
    lab.post(&format!("/v1/sandbox/{id}/process/execute"), body).await
}

#[tokio::test]
async fn a_command_is_passed_on_and_its_end_comes_back() {
    let lab = Lab::start().await;
    lab.node.say([
        Say::started(),
        Say::out("hello "),
        Say::Err("oh".into()),
        Say::out("world"),
        Say::exited(3),
    ]);
    let body = json!({"command": "echo $A", "cwd": "/tmp", "envs": {"A": "b"}, "timeout": 7});
    let answer = execute(&lab, body).await.expect(200);
    assert_eq!(answer.json(), json!({"exit_code": 3, "stdout": "hello world", "stderr": "oh"}));
    let Request::Exec(exec) = lab.node.inner.requests.lock().unwrap()[0].clone() else {
        panic!("not a command")
    };
    assert_eq!(exec.command, Command::Shell("echo $A".into()));
    assert_eq!(
        (exec.cwd.as_deref(), exec.env["A"].as_str(), exec.timeout_ms),
        (Some("/tmp"), "b", Some(7000))
    );
    assert!(!exec.stdin);

    execute(&lab, json!({"argv": ["ls", "-l"]})).await.expect(200);
    let Request::Exec(exec) = lab.node.inner.requests.lock().unwrap()[1].clone() else {
        panic!("not a command")
    };
    assert_eq!(exec.command, Command::Argv(vec!["ls".into(), "-l".into()]));
    assert_eq!(exec.timeout_ms, Some(30_000), "thirty seconds, where nobody says");
}

#[tokio::test]
async fn ends_are_told_as_a_shell_would() {
    let lab = Lab::start().await;
    for (end, expect) in [
        (Say::ended(None, Some(9), ExecCause::Itself), json!({"exit_code": 137})),
        (Say::ended(None, Some(9), ExecCause::Timeout), json!({"exit_code": 124, "timed_out": true})),
        (Say::ended(None, Some(9), ExecCause::OutOfMemory), json!({"exit_code": 137, "out_of_memory": true})),
    ] {
        lab.node.say([Say::started(), Say::out("so far"), end]);
        let mut answer = execute(&lab, json!({"command": "x"})).await.expect(200).json();
        let object = answer.as_object_mut().unwrap();
        assert_eq!(object.remove("stdout").unwrap(), "so far");
        object.remove("stderr");
        assert_eq!(answer, expect);
    }
    lab.node.say([Say::started(), Say::ended(None, None, ExecCause::Itself)]);
    execute(&lab, json!({"command": "x"})).await.expect(502);
}

#[tokio::test]
async fn output_is_bounded_and_always_text() {
    let lab = Lab::start().await;
    lab.node.say([
        Say::started(),
        Say::Out(Bytes::from(vec![b'x'; 100])),
        Say::Err(Bytes::from_static(b"\xff!")),
        Say::exited(0),
    ]);
    let answer = execute(&lab, json!({"command": "x"})).await.expect(200).json();
    assert_eq!(answer["stdout"].as_str().unwrap().len(), 64);
    assert_eq!((&answer["stderr"], &answer["truncated"]), (&json!("\u{fffd}!"), &json!(true)));
}

#[tokio::test]
async fn what_the_inside_refuses_has_its_status() {
    let lab = Lab::start().await;
    for (code, status) in [
        (ErrorCode::NotFound, 404),
        (ErrorCode::PermissionDenied, 403),
        (ErrorCode::NotADirectory, 400),
        (ErrorCode::ProcessLimit, 409),
        (ErrorCode::DiskFull, 507),
        (ErrorCode::Unsupported, 501),
    ] {
        lab.node.say([Say::End(Err(Error::new(code, "no such program: x")))]);
        assert_eq!(
            execute(&lab, json!({"argv": ["x"]})).await.expect(status).message(),
            "no such program: x"
        );
    }
}

#[tokio::test]
async fn a_broken_connection_is_not_an_end() {
    // Answers that have not begun can still have a status.
    let lab = Lab::with(control::Limits { keep_alive: Duration::from_secs(10), ..Lab::limits() }).await;
    for script in
        [vec![Say::started(), Say::out("half"), Say::Cut], vec![Say::started(), Say::out("half")], vec![]]
    {
        lab.node.say(script);
        assert_eq!(execute(&lab, json!({"command": "x"})).await.expect(502).code(), "connection_broken");
    }
}

#[tokio::test]
async fn a_sandbox_that_dies_under_a_command_is_named_as_the_cause() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.say([Say::started(), Say::Wait(Duration::from_millis(100)), Say::Cut]);
    let path = format!("/v1/sandbox/{id}/process/execute");
    let execute = lab.post(&path, json!({"command": "x"}));
    let kill = async {
        crate::eventually!(!lab.node.inner.requests.lock().unwrap().is_empty());
        lab.node.kill(&id, wire::sandbox::Reason::OutOfMemory, "");
    };
    let (answer, ()) = tokio::join!(execute, kill);
    assert!(answer.expect(404).message().contains("out_of_memory"));
}

async fn raw_execute(lab: &Lab, path: &str) -> tokio::net::TcpStream {
    let body = br#"{"command": "x"}"#;
    lab.raw("POST", path, &format!("content-length: {}\r\nconnection: close\r\n", body.len()), body).await
}

async fn read_all(mut stream: tokio::net::TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_long_command_keeps_its_client_alive() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let path = format!("/v1/sandbox/{id}/process/execute");
    lab.node.say([Say::started(), Say::Wait(lab.limits.keep_alive * 4), Say::exited(0)]);
    let begun = Instant::now();
    let mut stream = raw_execute(&lab, &path).await;
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    assert!(begun.elapsed() < lab.limits.keep_alive * 3, "the first byte came late");
    assert!(read_all(stream).await.matches("1\r\n \r\n").count() >= 2);
    // To a client that parses JSON nothing is to be seen of it.
    let answer = lab.post(&path, json!({"command": "x"})).await.expect(200).json();
    assert_eq!(answer["exit_code"], 0);
}

#[tokio::test]
async fn a_long_command_whose_end_is_lost_is_cut_off() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.say([Say::started(), Say::Wait(lab.limits.keep_alive * 2), Say::Cut]);
    let answer = read_all(raw_execute(&lab, &format!("/v1/sandbox/{id}/process/execute")).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"));
    assert!(!answer.ends_with("0\r\n\r\n"), "a cut answer must not look whole: {answer:?}");
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_its_command() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.say([Say::started(), Say::Hang]);
    for (count, op) in [(1, "execute"), (2, "stream")] {
        let stream = raw_execute(&lab, &format!("/v1/sandbox/{id}/process/{op}")).await;
        crate::eventually!(lab.node.inner.requests.lock().unwrap().len() == count as usize);
        assert_eq!(*lab.node.inner.cancelled.borrow(), count - 1);
        drop(stream);
        lab.node.until_cancelled(count).await;
    }
}

/// The events of a stream, each of which must carry its number as its SSE id.
pub fn events(body: &str) -> Vec<Value> {
    let events = body.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    let read = |event: &str| {
        let (json, id) = event.split_once("\nid: ").expect("an event without an id");
        let event: Value = serde_json::from_str(json).unwrap();
        assert_eq!(event["seq"].to_string(), id);
        event
    };
    events.map(read).collect()
}

async fn stream(lab: &Lab) -> Answer {
    let id = lab.sandbox().await;
    lab.post(&format!("/v1/sandbox/{id}/process/stream"), json!({"command": "x"})).await
}

#[tokio::test]
async fn a_stream_tells_events_as_they_happen() {
    let lab = Lab::start().await;
    lab.node.say([
        Say::started(),
        Say::out("hi"),
        Say::Err("oh".into()),
        Say::Wait(lab.limits.keep_alive * 2),
        Say::exited(1),
    ]);
    let answer = stream(&lab).await.expect(200);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(body.contains(": ping\n\n"), "a silent command keeps its client alive");
    let expect = json!([
        {"seq": 0, "type": "started", "pid": 7},
        {"seq": 1, "type": "stdout", "data": "aGk="},
        {"seq": 2, "type": "stderr", "data": "b2g="},
        {"seq": 3, "type": "exit", "exit_code": 1, "how": "exited"},
    ]);
    assert_eq!(Value::from(events(&body)), expect);
}

#[tokio::test]
async fn a_stream_ends_with_its_cause() {
    let lab = Lab::start().await;
    for (end, how, code) in [
        (Say::ended(None, Some(15), ExecCause::Itself), "signal", 143),
        (Say::ended(None, Some(9), ExecCause::Timeout), "timeout", 124),
        (Say::ended(None, Some(9), ExecCause::OutOfMemory), "out_of_memory", 137),
    ] {
        lab.node.say([Say::started(), end]);
        let answer = stream(&lab).await.expect(200);
        let last = events(&String::from_utf8_lossy(&answer.body)).pop().unwrap();
        assert_eq!(
            (&last["type"], &last["how"], &last["exit_code"]),
            (&json!("exit"), &json!(how), &json!(code))
        );
    }
    lab.node.say([Say::started(), Say::Cut]);
    let answer = stream(&lab).await.expect(200);
    let last = events(&String::from_utf8_lossy(&answer.body)).pop().unwrap();
    assert_eq!((&last["type"], &last["code"]), (&json!("error"), &json!("connection_broken")));
}

#[tokio::test]
async fn a_stream_of_a_command_that_does_not_start_has_a_status() {
    let lab = Lab::start().await;
    lab.node.say([Say::End(Err(Error::new(ErrorCode::NotFound, "no such program: x")))]);
    stream(&lab).await.expect(404);
}
