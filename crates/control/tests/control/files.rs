//! Files: streamed, bounded, whole or not at all.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::guest::{Error, ErrorCode, Head, Part, Request};
use wire::id::SandboxId;

use crate::support::{Answer, Lab, Say};

async fn write(lab: &Lab, id: &SandboxId, query: &str, body: impl Into<Bytes>) -> Answer {
    lab.with_key(&lab.key, "POST", &format!("/v1/sandbox/{id}/filesystem/write-file{query}"), body).await
}

async fn read(lab: &Lab, id: &SandboxId, body: Value) -> Answer {
    lab.post(&format!("/v1/sandbox/{id}/filesystem/read-file"), body).await
}

#[tokio::test]
async fn bytes_come_back_as_they_went() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let content: Vec<u8> = (0..3_000_000u32).map(|i| (i * 31 % 251) as u8).collect();
    write(&lab, &id, "?path=%2Ftmp%2Fa+b&permissions=640", content.clone()).await.expect(204);
    let Request::WriteFile(file) = lab.node.inner.requests.lock().unwrap()[0].clone() else {
        panic!("not a write")
    };
    assert_eq!((file.path.as_str(), file.mode), ("/tmp/a b", Some(0o640)));
    let answer = read(&lab, &id, json!({"path": "/tmp/a b"})).await.expect(200);
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    assert!(answer.body == content);

    write(&lab, &id, "?path=empty", "").await.expect(204);
    assert!(read(&lab, &id, json!({"path": "empty"})).await.expect(200).body.is_empty());
}

#[tokio::test]
async fn parts_are_passed_on() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    for (body, part) in [
        (json!({"path": "x", "offset": 5, "limit": 9}), Part::Bytes { offset: 5, limit: Some(9) }),
        (json!({"path": "x", "head": 2}), Part::Head { lines: 2 }),
        (json!({"path": "x", "tail": 2}), Part::Tail { lines: 2 }),
    ] {
        read(&lab, &id, body).await.expect(404);
        let Some(Request::ReadFile(file)) = lab.node.inner.requests.lock().unwrap().last().cloned() else {
            panic!("not a read")
        };
        assert_eq!(file.part, part);
    }
    assert_eq!(
        read(&lab, &id, json!({"path": "x", "head": 1, "tail": 1})).await.expect(400).wrong_fields(),
        ["tail"]
    );
    assert_eq!(read(&lab, &id, json!({"head": "x"})).await.expect(400).wrong_fields(), ["path", "head"]);
}

#[tokio::test]
async fn refusals_have_their_status_and_the_words_clients_look_for() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    for (code, status) in [
        (ErrorCode::NotFound, 404),
        (ErrorCode::PermissionDenied, 403),
        (ErrorCode::IsADirectory, 400),
        (ErrorCode::DiskFull, 507),
    ] {
        lab.node.say([Say::End(Err(Error::new(code, "/etc: refused")))]);
        for answer in [
            read(&lab, &id, json!({"path": "/etc"})).await,
            // Larger than what any buffer on the way holds: the refusal comes while it is sent.
            write(&lab, &id, "?path=/etc", vec![0; 6_000_000]).await,
        ] {
            let message = answer.expect(status).message();
            assert_eq!(message.contains("is a directory"), code == ErrorCode::IsADirectory, "{message}");
        }
    }
    for query in ["", "?path=", "?path=%FF", "?path=x&permissions=rw"] {
        write(&lab, &id, query, "x").await.expect(400);
    }
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_announced_or_not() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let large = vec![7; lab.limits.upload_bytes_max as usize + 1];
    assert_eq!(write(&lab, &id, "?path=x", large.clone()).await.expect(413).code(), "too_large");

    let path = format!("/v1/sandbox/{id}/filesystem/write-file?path=x");
    let mut stream = lab.raw("POST", &path, "transfer-encoding: chunked\r\nconnection: close\r\n", b"").await;
    for chunk in large.chunks(1 << 20) {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
        stream.write_all(chunk).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    lab.node.until_cancelled(1).await;
    assert!(lab.node.inner.files.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_that_breaks_leaves_no_file() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let path = format!("/v1/sandbox/{id}/filesystem/write-file?path=x");
    let stream = lab.raw("POST", &path, "content-length: 1000000\r\n", &[0; 300_000]).await;
    crate::eventually!(!lab.node.inner.requests.lock().unwrap().is_empty());
    drop(stream);
    lab.node.until_cancelled(1).await;
    assert!(lab.node.inner.files.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_read_that_breaks_midway_is_cut_off() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let body = br#"{"path": "x"}"#;
    for end in [Say::Cut, Say::End(Err(Error::new(ErrorCode::Io, "bad sector")))] {
        lab.node.say([Say::Head(Head::File { size_bytes: 10 }), Say::out("half"), end]);
        let path = format!("/v1/sandbox/{id}/filesystem/read-file");
        let mut stream = lab.raw("POST", &path, &format!("content-length: {}\r\n", body.len()), body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("half"), "{answer:?}");
        assert!(!answer.ends_with("0\r\n\r\n"), "a cut answer must not look whole: {answer:?}");
    }
}
