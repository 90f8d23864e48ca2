//! Commands.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use testkit::lab::{Builder, Lab, eventually};

use super::{PATIENCE_SECONDS, brief, execute, many, run, sandbox};

pub async fn a_signal_and_a_timeout_are_told_apart_from_an_exit(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    assert_eq!(run(&lab, &id, "kill -9 $$").await["exit_code"], 137);
    let slow = json!({ "command": "echo begun; sleep 100 & sleep 100", "timeout": brief() });
    let ended = execute(&lab, &id, slow).await.expect(200).json();
    assert_eq!(ended, json!({ "exit_code": 124, "stdout": "begun\n", "stderr": "", "timed_out": true }));
    assert_eq!(run(&lab, &id, "exit 124").await.get("timed_out"), None);
    lab.end().await;
}

pub async fn a_background_child_does_not_hold_the_answer(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let ended =
        run(&lab, &id, "(while :; do echo tick; sleep 0.05; done) & echo $! > pid; echo started").await;
    assert!(ended["stdout"].as_str().unwrap().contains("started"), "{ended}");
    // It must outlive the command that started it, and its writes must not kill it.
    let alive = run(&lab, &id, "sleep 0.3; kill -0 $(cat pid) && echo alive; kill $(cat pid)").await;
    assert_eq!(alive["stdout"], "alive\n", "{alive}");
    lab.end().await;
}

pub async fn long_commands_and_here_documents_work(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let long = format!("cat <<'END' | wc -c\n{}\nEND\n", "x".repeat(1024 * 1024));
    assert_eq!(run(&lab, &id, &long).await["stdout"], "1048577\n");
    assert_eq!(
        run(&lab, &id, "python3 - <<'END'\nprint('from a here-document')\nEND").await["stdout"],
        "from a here-document\n"
    );
    assert_eq!(run(&lab, &id, "cat").await, json!({ "exit_code": 0, "stdout": "", "stderr": "" }));
    lab.end().await;
}

pub async fn much_output_arrives_whole(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let (out, err) = (many(5_000_000), many(300_000));
    let command = format!("head -c {out} /dev/zero | tr '\\0' x; head -c {err} /dev/zero | tr '\\0' y >&2");
    let ended = run(&lab, &id, &command).await;
    // Compared without printing: a failure need not show megabytes.
    assert!(ended["stdout"].as_str().unwrap() == "x".repeat(out), "other output than was written");
    assert!(ended["stderr"].as_str().unwrap() == "y".repeat(err), "other errors than were written");
    lab.end().await;
}

pub async fn a_stream_ends_with_how_the_command_ended(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let events =
        stream(&lab, &id, json!({ "command": "printf 'a\\377\\n'; sleep 0.1; echo b >&2; exit 5" })).await;
    let numbers: Vec<_> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, Vec::from_iter(0..events.len() as u64));
    assert_eq!(events[0]["type"], "started");
    assert_eq!(said(&events, "stdout"), b"a\xff\n");
    assert_eq!(said(&events, "stderr"), b"b\n");
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["exit_code"], &last["how"]),
        (&json!("exit"), &json!(5), &json!("exited"))
    );
    lab.end().await;
}

pub async fn many_commands_at_once_keep_their_output_apart(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let commands: Vec<_> = (0..many(40))
        .map(|number| {
            let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{id}/process/execute"));
            let body = json!({
                "command": format!("for i in 1 2 3; do echo {number}; done; exit {number}"),
                "timeout": PATIENCE_SECONDS,
            });
            tokio::spawn(async move { api.post(&path, body).await.expect(200).json() })
        })
        .collect();
    for (number, command) in commands.into_iter().enumerate() {
        let ended = command.await.unwrap();
        assert_eq!(ended["exit_code"], number);
        assert_eq!(ended["stdout"], format!("{number}\n").repeat(3));
    }
    lab.end().await;
}

pub async fn what_cannot_be_started_is_named(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let missing = execute(&lab, &id, json!({ "argv": ["no-such-program"] })).await.expect(404);
    assert!(missing.json()["message"].as_str().unwrap().contains("no-such-program"), "{missing:?}");
    let nowhere = execute(&lab, &id, json!({ "command": "true", "cwd": "/no/such/place" })).await.expect(404);
    assert!(nowhere.json()["message"].as_str().unwrap().contains("/no/such/place"), "{nowhere:?}");
    for body in [json!({}), json!({ "command": "a", "argv": ["b"] }), json!({ "command": 7 })] {
        let answer = execute(&lab, &id, body).await.expect(400).json();
        assert_eq!(answer["errors"][0]["field"], "command", "{answer}");
    }
    lab.end().await;
}

pub async fn input_is_read_to_its_end(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let counted = json!({ "command": "wc -c", "stdin": "x".repeat(many(3_000_000)) });
    let ended = execute(&lab, &id, counted).await.expect(200).json();
    assert_eq!(ended["stdout"].as_str().unwrap().trim(), many(3_000_000).to_string());
    let bytes = json!({ "argv": ["od", "-An", "-tx1"], "stdin_base64": "AP8=" });
    assert_eq!(execute(&lab, &id, bytes).await.expect(200).json()["stdout"], " 00 ff\n");
    // Nobody has to read it.
    let unread = json!({ "command": "exit 4", "stdin": "x".repeat(many(3_000_000)) });
    assert_eq!(execute(&lab, &id, unread).await.expect(200).json()["exit_code"], 4);
    let streamed = stream(&lab, &id, json!({ "argv": ["cat"], "stdin": "a\nb" })).await;
    assert_eq!(said(&streamed, "stdout"), b"a\nb");
    lab.end().await;
}

pub async fn ten_megabytes_of_output_are_exact(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let bytes = many(10 * 1024 * 1024);
    let command = format!("yes 0123456789abcde | head -c {bytes}");
    let ended = run(&lab, &id, &command).await;
    let expect = "0123456789abcde\n".repeat(bytes / 16 + 1);
    assert!(ended["stdout"].as_str().unwrap() == &expect[..bytes], "other output than was written");
    assert_eq!(ended.get("truncated"), None);
    lab.end().await;
}

pub async fn a_batch_runs_in_order_at_once_or_until_one_fails(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let path = format!("/v1/sandbox/{id}/process/batch");
    let commands = ["echo a > list", "echo b >> list; exit 2", "cat list"]
        .map(|command| json!({ "command": command, "timeout": PATIENCE_SECONDS }));
    let all = lab.api.post(&path, json!({ "commands": commands })).await.expect(200).json();
    assert_eq!(
        (&all["items"][1]["exit_code"], &all["items"][2]["stdout"]),
        (&json!(2), &json!("a\nb\n")),
        "{all}"
    );
    let some =
        lab.api.post(&path, json!({ "commands": commands, "stop_on_error": true })).await.expect(200).json();
    assert_eq!(
        (&some["items"][0]["exit_code"], &some["items"][1]["exit_code"]),
        (&json!(0), &json!(2)),
        "{some}"
    );
    assert_eq!(some["items"][2]["error"]["code"], "not_run");
    // Each waits for the other: one after the other they would never end.
    let meet = |mine: &str, other: &str| json!({ "command": format!("touch {mine}; while ! test -e {other}; do sleep 0.02; done"), "timeout": 60 });
    let pair = json!({ "commands": [meet("x", "y"), meet("y", "x")], "parallel": true });
    let met = lab.api.post(&path, pair).await.expect(200).json();
    assert_eq!(
        (&met["items"][0]["exit_code"], &met["items"][1]["exit_code"]),
        (&json!(0), &json!(0)),
        "{met}"
    );
    lab.end().await;
}

pub async fn a_sandbox_is_made_to_run_something(lab: Builder) {
    let lab = lab.start().await;
    let headers = [("idempotency-key", "run-once")];
    let body = json!({ "run": { "command": "echo x >> ran; cat ran", "timeout": PATIENCE_SECONDS } });
    let made = lab.api.post_with("/v1/sandbox", &headers, body.clone()).await.expect(201).json();
    assert_eq!(made["executed"], json!({ "exit_code": 0, "stdout": "x\n", "stderr": "" }));
    let again = lab.api.post_with("/v1/sandbox", &headers, body).await.expect(201).json();
    assert_eq!((&again["id"], again.get("executed")), (&made["id"], None));
    assert_eq!(run(&lab, made["id"].as_str().unwrap(), "cat ran").await["stdout"], "x\n");
    lab.api.post("/v1/sandbox", json!({ "run": {} })).await.expect(400);
    assert_eq!(lab.api.get("/v1/sandboxes").await.expect(200).json()["total_items"], 1);
    lab.end().await;
}

pub async fn a_timeout_ends_the_whole_group(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let family = "sleep 1000 & echo $! > child; sleep 1000";
    let ended = execute(&lab, &id, json!({ "command": family, "timeout": brief() })).await.expect(200).json();
    assert_eq!((&ended["exit_code"], &ended["timed_out"]), (&json!(124), &json!(true)));
    eventually("the child is gone", async || {
        run(&lab, &id, "kill -0 $(cat child) 2> /dev/null").await["exit_code"] != 0
    })
    .await;
    lab.end().await;
}

async fn stream(lab: &Lab, id: &str, body: Value) -> Vec<Value> {
    let path = format!("/v1/sandbox/{id}/process/stream");
    let headers = [("content-type", "application/json")];
    let answer = lab.api.send(Method::POST, &path, &headers, body.to_string().into()).await.expect(200);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    data.map(|json| serde_json::from_str(json).unwrap()).collect()
}

/// All bytes of one channel.
fn said(events: &[Value], channel: &str) -> Vec<u8> {
    let of_channel = events.iter().filter(|event| event["type"] == channel);
    of_channel.flat_map(|event| STANDARD.decode(event["data"].as_str().unwrap()).unwrap()).collect()
}
