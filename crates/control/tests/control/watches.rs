//! Directories that are watched.

use serde_json::{Value, json};
use wire::guest::watch::{Change, Watch};
use wire::guest::{Done, Error, ErrorCode, Head, Request};
use wire::id::SandboxId;
use wire::sandbox::Reason;

use crate::processes::events;
use crate::support::{Answer, Lab, Say};

fn line(change: &Change) -> Vec<u8> {
    let mut line = serde_json::to_vec(change).unwrap();
    line.push(b'\n');
    line
}

fn created(path: &str) -> Change {
    Change::Created { path: path.into(), is_dir: false }
}

fn gone() -> Say {
    Say::End(Ok(Done::Nothing))
}

async fn watch(lab: &Lab, id: &SandboxId) -> Answer {
    let body = json!({ "path": "src", "recursive": true, "exclude": [".git"] });
    lab.post(&format!("/v1/sandbox/{id}/filesystem/watch"), body).await
}

fn told(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    events(&answer.text())
}

#[tokio::test]
async fn changes_are_events_however_their_bytes_are_cut() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let moved = Change::Moved { from: "/a".into(), to: "/é\n\u{2028}".into(), is_dir: true };
    let lines = [line(&created("/a")), line(&moved), line(&Change::Rescan)].concat();
    let mut says = vec![Say::Head(Head::Watching)];
    says.extend(lines.chunks(7).map(|piece| Say::Out(piece.to_vec().into())));
    says.push(gone());
    lab.node.say(says);
    let answer = watch(&lab, &id).await.expect(200);
    let expect = [
        json!({ "seq": 0, "type": "ready" }),
        json!({ "seq": 1, "type": "created", "path": "/a", "is_dir": false }),
        json!({ "seq": 2, "type": "moved", "from": "/a", "to": "/é\n\u{2028}", "is_dir": true }),
        json!({ "seq": 3, "type": "rescan" }),
        json!({ "seq": 4, "type": "gone" }),
    ];
    assert_eq!(told(&answer), expect);
    let Some(Request::Watch(asked)) = lab.node.inner.requests.lock().unwrap().pop() else {
        panic!("no watch")
    };
    assert_eq!(asked, Watch { path: "src".into(), recursive: true, exclude: vec![".git".into()] });
}

#[tokio::test]
async fn what_fails_before_the_watch_stands_is_a_plain_answer() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    for (code, status) in [
        (ErrorCode::NotFound, 404),
        (ErrorCode::NotADirectory, 400),
        (ErrorCode::PermissionDenied, 403),
        (ErrorCode::TooMany, 409),
        (ErrorCode::Unsupported, 501),
    ] {
        lab.node.say([Say::End(Err(Error::new(code, "no")))]);
        watch(&lab, &id).await.expect(status);
    }
    lab.node.say([Say::Cut]);
    assert_eq!(watch(&lab, &id).await.expect(502).code(), "connection_broken");
}

#[tokio::test]
async fn a_watch_that_is_lost_says_why() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let begun = || vec![Say::Head(Head::Watching), Say::Out(line(&created("/a")).into())];
    let too_many = Error::new(ErrorCode::TooMany, "no");
    for (last, code) in [
        (Say::End(Err(too_many)), "too_many"),
        (Say::Cut, "connection_broken"),
        // Half a line, and an answer to something else.
        (Say::out("{"), "connection_broken"),
        (Say::End(Ok(Done::Truth(true))), "connection_broken"),
    ] {
        lab.node.say([begun(), vec![last, gone()]].concat());
        let told = told(&watch(&lab, &id).await.expect(200));
        assert_eq!(told.len(), 3, "{told:?}");
        let end = (&told[2]["type"], &told[2]["code"], &told[2]["seq"]);
        assert_eq!(end, (&json!("error"), &json!(code), &json!(2)), "{told:?}");
    }
    lab.node.kill(&id, Reason::Timeout, "its time was up");
    crate::eventually!(lab.state(&id).await == "deleted");
    assert_eq!(watch(&lab, &id).await.expect(404).code(), "sandbox_deleted");
}

#[tokio::test]
async fn a_listener_is_kept_alive_and_one_that_hangs_up_ends_its_watch() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    lab.node.say([Say::Head(Head::Watching), Say::Wait(lab.limits.keep_alive * 3), gone()]);
    assert!(watch(&lab, &id).await.expect(200).text().contains(": ping\n\n"));
    lab.node.say([Say::Head(Head::Watching), Say::Hang]);
    let path = format!("/v1/sandbox/{id}/filesystem/watch");
    let before = *lab.node.inner.cancelled.borrow();
    let body = br#"{"path": "src"}"#;
    let stream = lab.raw("POST", &path, &format!("content-length: {}\r\n", body.len()), body).await;
    crate::eventually!(lab.node.inner.requests.lock().unwrap().len() == 2);
    drop(stream);
    lab.node.until_cancelled(before + 1).await;
}
