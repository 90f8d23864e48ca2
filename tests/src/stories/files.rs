//! Files.

use serde_json::json;
use testkit::lab::Builder;
use testkit::machines::Kind;

use super::{read, run, sandbox, write};

pub async fn what_is_written_is_read_back(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let binary: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    write(&lab, &id, "/workspace/deep/er/a+file%20here", binary.clone()).await.expect(204);
    let back = read(&lab, &id, json!({ "path": "/workspace/deep/er/a file here" })).await.expect(200);
    assert!(back.body == binary, "{} bytes came back", back.body.len());
    assert_eq!(back.headers["content-type"], "application/octet-stream");
    write(&lab, &id, "relative.txt", "").await.expect(204);
    assert_eq!(read(&lab, &id, json!({ "path": "/workspace/relative.txt" })).await.expect(200).body, "");
    write(&lab, &id, "script&permissions=755", "#!/bin/sh\necho ran\n").await.expect(204);
    assert_eq!(run(&lab, &id, "./script").await["stdout"], "ran\n");
    write(&lab, &id, "script", "#!/bin/sh\necho again\n").await.expect(204);
    assert_eq!(run(&lab, &id, "./script").await["stdout"], "again\n");
    lab.end().await;
}

pub async fn parts_of_a_file_are_read(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    write(&lab, &id, "lines", "one\ntwo\nthree\nfour").await.expect(204);
    for (part, expect) in [
        (json!({ "offset": 4 }), "two\nthree\nfour"),
        (json!({ "offset": 4, "limit": 3 }), "two"),
        (json!({ "limit": 5 }), "one\nt"),
        (json!({ "head": 2 }), "one\ntwo\n"),
        (json!({ "tail": 2 }), "three\nfour"),
        (json!({ "tail": 99 }), "one\ntwo\nthree\nfour"),
        (json!({ "offset": 999 }), ""),
    ] {
        let mut body = json!({ "path": "lines" });
        body.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        assert_eq!(read(&lab, &id, body).await.expect(200).body, expect, "{part}");
    }
    read(&lab, &id, json!({ "path": "lines", "head": 1, "tail": 1 })).await.expect(400);
    lab.end().await;
}

pub async fn missing_files_directories_and_denied_ones_are_told_apart(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    read(&lab, &id, json!({ "path": "/no/such/file" })).await.expect(404);
    let directory = read(&lab, &id, json!({ "path": "/workspace" })).await.expect(400).json();
    assert!(directory["message"].as_str().unwrap().contains("is a directory"), "{directory}");
    run(&lab, &id, "echo secret > closed; chmod 000 closed; mkfifo pipe").await;
    read(&lab, &id, json!({ "path": "closed" })).await.expect(403);
    let pipe = read(&lab, &id, json!({ "path": "pipe" })).await.expect(400).json();
    assert!(pipe["message"].as_str().unwrap().contains("not a regular file"), "{pipe}");
    read(&lab, &id, json!({ "path": "a\u{0}b" })).await.expect(400);
    write(&lab, &id, "", "content").await.expect(400);
    write(&lab, &id, "/workspace", "content").await.expect(400);
    if lab.kind != Kind::Fake {
        write(&lab, &id, "/etc/passwd", "root::0:0::/:/bin/sh").await.expect(403);
    }
    lab.end().await;
}

pub async fn no_path_leaves_the_sandbox(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let host = tempfile::tempdir_in("/tmp").unwrap();
    let secret = host.path().join("secret");
    std::fs::write(&secret, "of the host").unwrap();
    let secret = secret.to_str().unwrap();
    let host = host.path().to_str().unwrap();
    run(
        &lab,
        &id,
        &format!("ln -s {secret} link; ln -s {host} dir; ln -s ../../../../../../../.. up; ln -s / slash"),
    )
    .await;
    let escapes = [
        secret.to_owned(),
        "link".into(),
        "dir/secret".into(),
        format!("up{secret}"),
        format!("slash{secret}"),
        format!("../../../../../../../../..{secret}"),
        format!("/proc/self/root{secret}"),
        format!("/proc/1/root{secret}"),
    ];
    for path in escapes {
        // A link may lead to a file of this name inside; never to the host's.
        let answer = read(&lab, &id, json!({ "path": path })).await;
        assert!(answer.body != "of the host", "{path} reads the host's file");
        write(&lab, &id, &path, "of the sandbox").await;
        assert_eq!(std::fs::read_to_string(secret).unwrap(), "of the host", "{path}");
    }
    lab.end().await;
}
