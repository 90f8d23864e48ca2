//! Several files at once, and large ones.

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use testkit::http::Answer;
use testkit::lab::{Builder, Lab};
use testkit::machines::Kind;

use super::operations::files;
use super::{is_slow, read, run, sandbox};

/// A multipart body as HTTP libraries make it.
fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let head = format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"upload\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--xyz--\r\n");
    body
}

async fn write_files(lab: &Lab, id: &str, body: impl Into<Bytes>) -> Answer {
    let headers = [("content-type", "multipart/form-data; boundary=xyz")];
    let path = format!("/v1/sandbox/{id}/filesystem/write-files");
    lab.api.send(Method::POST, &path, &headers, body.into()).await
}

pub async fn one_file_in_a_form_is_written_every_time(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    // As many pieces as may wait to be sent, and their end: a node that has not been reached yet takes none of them.
    for number in 0..32 {
        let name = format!("one/{number}");
        write_files(&lab, &id, multipart(&[(&name, name.as_bytes())])).await.expect(204);
        assert_eq!(read(&lab, &id, json!({ "path": name })).await.expect(200).body, name);
    }
    lab.end().await;
}

pub async fn files_that_are_written_together_are_read_together(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let binary: Vec<u8> = (0..2_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let body =
        multipart(&[("deep/er/a b", b"1\r\n--xy"), ("/workspace/q%22uo\\\\te", &binary), ("empty", b"")]);
    write_files(&lab, &id, body).await.expect(204);
    assert_eq!(
        run(&lab, &id, "cat 'deep/er/a b'; wc -c < 'q\"uo\\te'; stat -c %s empty").await["stdout"],
        "1\r\n--xy2000000\n0\n"
    );

    let paths = ["empty", "q\"uo\\te", "deep/er/a b"];
    let answer = files(&lab, &id, "read-files", json!({ "paths": paths })).await.expect(200);
    let kind = answer.headers["content-type"].to_str().unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").expect("a boundary");
    let mut expect = Vec::new();
    for (name, content) in [("empty", &b""[..]), ("q\\\"uo\\\\te", &binary), ("deep/er/a b", b"1\r\n--xy")] {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        expect.extend_from_slice(&[head.as_bytes(), content, b"\r\n"].concat());
    }
    expect.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    assert!(answer.body == expect, "{} bytes, {} expected", answer.body.len(), expect.len());

    files(&lab, &id, "read-files", json!({ "paths": ["empty", "gone"] })).await.expect(404);
    files(&lab, &id, "read-files", json!({ "paths": ["empty", "deep"] })).await.expect(400);
    files(&lab, &id, "read-files", json!({ "paths": [] })).await.expect(400);
    let nothing = format!("/v1/sandbox/{id}/filesystem/write-files");
    lab.api.send(Method::POST, &nothing, &[], Bytes::new()).await.expect(204);
    write_files(&lab, &id, &b"--xyz\r\nno headers"[..]).await.expect(400);
    write_files(&lab, &id, multipart(&[("", b"x")])).await.expect(400);
    let directory =
        write_files(&lab, &id, multipart(&[("first", b"1"), ("deep", b"2"), ("third", b"3")])).await;
    assert!(directory.expect(400).json()["message"].as_str().unwrap().contains("is a directory"));
    assert_eq!(run(&lab, &id, "ls").await["stdout"], "deep\nempty\nfirst\nq\"uo\\te\n");
    lab.end().await;
}

pub async fn a_large_file_goes_both_ways_in_constant_memory(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let mib: usize = match lab.kind {
        _ if is_slow() => 64,
        Kind::Fake => 256,
        Kind::Gvisor => 1000,
    };
    let path = format!("/v1/sandbox/{id}/filesystem/write-file?path=large");
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let before = resident_kib();
    let growth = || resident_kib().saturating_sub(before);
    lab.api.upload(&path, "application/octet-stream", std::iter::repeat_n(piece, mib)).await.expect(204);
    let written = growth();
    let size = run(&lab, &id, "stat -c %s large; tail -c 5 large").await;
    assert_eq!(size["stdout"], format!("{}\nxxxxx", mib << 20));

    let path = format!("/v1/sandbox/{id}/filesystem/read-file");
    let body = json!({ "path": "large" }).to_string().into();
    let mut answer = lab.api.open(Method::POST, &path, &[("content-type", "application/json")], body).await;
    let (mut bytes, mut largest) = (0, 0);
    while let Some(frame) = answer.body_mut().frame().await {
        let data = frame.expect("the answer broke off").into_data().unwrap_or_default();
        assert!(data.iter().all(|byte| *byte == b'x'), "other bytes came back");
        bytes += data.len();
        largest = largest.max(growth());
    }
    assert_eq!(bytes, mib << 20);
    // The server is in this process, beside other stories. What holds a file whole grows by more than half of it.
    let bound = (mib as u64) << 9;
    assert!(written.max(largest) < bound, "the server grew by {written} and {largest} KiB");
    assert_eq!(
        read(&lab, &id, json!({ "path": "large", "offset": (mib << 20) - 3 })).await.expect(200).body,
        "xxx"
    );
    lab.end().await;
}

/// Resident memory of this process, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process sees itself");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

pub async fn a_full_disk_refuses_files_and_leaves_no_half(lab: Builder) {
    let lab = lab.disk_mib(64).start().await;
    let id = sandbox(&lab).await;
    let large = vec![7; 80 << 20];
    let refused =
        write_files(&lab, &id, multipart(&[("small", b"1"), ("large", &large), ("after", b"2")])).await;
    assert_eq!(refused.expect(507).json()["code"], "disk_full");
    assert_eq!(run(&lab, &id, "ls -A").await["stdout"], "small\n");
    run(&lab, &id, "head -c 40M /dev/zero > half").await;
    let copy = json!({ "src_path": "half", "dst_path": "other" });
    assert_eq!(files(&lab, &id, "copy", copy).await.expect(507).json()["code"], "disk_full");
    assert_eq!(
        run(&lab, &id, "ls -A; echo fine > small && cat small").await["stdout"],
        "half\nsmall\nfine\n"
    );
    lab.end().await;
}
