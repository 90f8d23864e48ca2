//! Shapes and statuses that clients rely on.

use std::time::Duration;

use serde_json::json;

use crate::support::{Lab, TEMPLATE};

#[tokio::test]
async fn a_sandbox_from_create_to_its_last_record() {
    let lab = Lab::start().await;
    let body = json!({"template_name": TEMPLATE, "vcpu": 2, "memory": 2048, "timeout": 600, "auto_pause": false,
        "env_vars": {"FROM": "user"}, "network_policy": {"mode": "allow-all"}, "unknown_field": [1]});
    let created = lab.post("/v1/sandbox", body).await.expect(201);
    let sandbox = created.json();
    let id = created.id();
    assert_eq!(sandbox["state"], "running");
    assert_eq!(
        (&sandbox["vcpu"], &sandbox["memory"], &sandbox["disk"]),
        (&json!(2), &json!(2048), &json!(10240))
    );
    assert_eq!((&sandbox["timeout"], &sandbox["auto_pause"]), (&json!(600), &json!(false)));
    assert_eq!(sandbox["created_at"], "2023-11-14T22:13:20Z");
    assert_eq!(sandbox["timeout_at"], 1_700_000_300);
    assert_eq!(sandbox["network_policy"], json!({"mode": "allow-all"}));
    assert_eq!(sandbox["mounts"], json!([]));
    assert!(sandbox["template_id"].as_str().unwrap().starts_with("tpl-"));
    assert!(sandbox.get("reason").is_none());

    let spec = lab.node.inner.specs.lock().unwrap()[&id].clone();
    assert_eq!(spec.env["FROM"], "user", "the user's environment beats the image's");
    assert_eq!(
        (spec.env["PATH"].as_str(), spec.workdir.as_str(), spec.user.as_str()),
        ("/bin", "/workspace", "user")
    );

    for path in [format!("/v1/sandbox/{id}"), format!("/v1/sandbox/{id}/")] {
        assert_eq!(lab.get(&path).await.expect(200).json(), sandbox);
    }
    let list =
        lab.get("/v1/sandboxes?sort=created_at&order-by=desc&page=1&page-size=20").await.expect(200).json();
    assert_eq!(list["total_items"], 1);
    assert_eq!(list["items"][0]["id"], json!(id));
    assert!(list["items"][0]["pod_id"].as_str().unwrap().starts_with("node-"));
    assert_eq!(list["items"][0]["timeout_at"], 1_700_000_300);

    lab.delete(&format!("/v1/sandbox/{id}/")).await.expect(204);
    assert!(!lab.node.has(&id));
    let gone = lab.get(&format!("/v1/sandbox/{id}")).await.expect(200).json();
    assert_eq!((&gone["state"], &gone["reason"]), (&json!("deleted"), &json!("deleted")));
    assert_eq!(lab.get("/v1/sandboxes").await.json(), json!({"items": [], "total_items": 0}));
    lab.delete(&format!("/v1/sandbox/{id}")).await.expect(204);

    lab.pass(Duration::from_secs(60 * 60 + 1));
    lab.get(&format!("/v1/sandbox/{id}")).await.expect(404);
    lab.delete(&format!("/v1/sandbox/{id}")).await.expect(404);
}

#[tokio::test]
async fn what_is_left_out_has_a_default() {
    let lab = Lab::start().await;
    for body in [
        "",
        "{}",
        r#"{"vcpu": null, "memory": null, "env_vars": null, "network_policy": null, "mounts": null}"#,
    ] {
        for path in ["/v1/sandbox", "/v1/sandbox/"] {
            let sandbox = lab.with_key(&lab.key, "POST", path, body).await.expect(201).json();
            assert_eq!(
                (&sandbox["vcpu"], &sandbox["memory"], &sandbox["timeout"]),
                (&json!(1), &json!(1024), &json!(300))
            );
            assert!(sandbox.get("network_policy").is_none(), "no value is no field, never null");
        }
    }
}

#[tokio::test]
async fn every_wrong_field_is_named_in_one_answer() {
    let lab = Lab::start().await;
    let body = json!({"template_name": "", "vcpu": 9, "memory": 1023, "timeout": "long", "auto_pause": "yes",
        "env_vars": {"A": 1}, "network_policy": {"mode": "deny-all"}, "mounts": [{}]});
    let answer = lab.post("/v1/sandbox", body).await.expect(400);
    let expect = [
        "template_name",
        "vcpu",
        "memory",
        "timeout",
        "auto_pause",
        "env_vars.A",
        "network_policy.mode",
        "mounts",
    ];
    assert_eq!(answer.wrong_fields(), expect);
    assert_eq!(answer.code(), "invalid_fields");
    for body in ["{", "[]", "\"x\"", "\u{0}"] {
        let answer = lab.with_key(&lab.key, "POST", "/v1/sandbox", body).await.expect(400);
        assert_eq!(answer.code(), "invalid_body");
    }
    assert_eq!(lab.node.puts(), 0);
}

#[tokio::test]
async fn an_unknown_template_is_not_found() {
    let lab = Lab::start().await;
    let answer = lab.post("/v1/sandbox", json!({"template_name": "nope"})).await.expect(404);
    assert!(answer.message().contains("nope"));
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let lab = Lab::start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(lab.sandbox().await.to_string());
        lab.pass(Duration::from_secs(1));
    }
    let list = async |query: &str| {
        let list = lab.get(&format!("/v1/sandboxes?{query}")).await.expect(200).json();
        let ids: Vec<_> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect();
        (ids, list["total_items"].as_u64().unwrap())
    };
    assert_eq!(list("order-by=asc").await, (ids.clone(), 3));
    assert_eq!(list("page=2&page-size=2").await, (vec![ids[0].clone()], 3));
    for state in ["starting", "snapshotting", "paused", "unpausing", "deleting", "stopping", "stopped"] {
        assert_eq!(list(&format!("state={state}")).await, (vec![], 0), "{state}");
    }
    let template = lab.get("/v1/templates").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    for template in [template.as_str(), "system%2Fdebian%3Abookworm"] {
        assert_eq!(
            list(&format!("template={template}&order-by=asc&page-size=1")).await,
            (ids[..1].to_vec(), 3)
        );
    }
    assert_eq!(list("template=another").await, (vec![], 0));
    assert_eq!(list("state=running&sort=state&order-by=asc").await, (ids, 3));
    let bad = lab.get("/v1/sandboxes?state=deleted&page=0&page-size=x").await.expect(400);
    assert_eq!(bad.wrong_fields(), ["state", "page", "page-size"]);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_in_json() {
    let lab = Lab::start().await;
    for path in ["/", "/v2/sandbox", "/v1/sandbox/x/y/z"] {
        let answer = lab.get(path).await.expect(404);
        assert_eq!(answer.code(), "no_such_route");
        assert!(answer.headers["x-request-id"].to_str().unwrap().starts_with("req-"));
    }
    let answer = lab.with_key(&lab.key, "PUT", "/v1/sandbox", "").await.expect(405);
    assert_eq!(answer.code(), "method_not_allowed");
    assert_eq!(answer.headers["allow"], "POST");
    for id in ["x", "sbx-aaaaaaaaaaaaaaaaaaaa", "%FF", "..%2F..%2Fetc"] {
        assert_eq!(lab.get(&format!("/v1/sandbox/{id}")).await.expect(404).code(), "not_found");
    }
}

#[tokio::test]
async fn a_json_body_has_a_limit() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let body = format!(r#"{{"command": "{}"}}"#, "x".repeat(16 * 1024 * 1024));
    let answer =
        lab.with_key(&lab.key, "POST", &format!("/v1/sandbox/{id}/process/execute"), body).await.expect(413);
    assert_eq!(answer.code(), "too_large");
}

#[tokio::test]
async fn templates_can_be_listed_and_read() {
    let lab = Lab::start().await;
    let list = lab.get("/v1/templates").await.expect(200).json();
    let template = &list["items"][0];
    assert_eq!(
        (&list["total_items"], &template["name"], &template["is_system"]),
        (&json!(1), &json!(TEMPLATE), &json!(true))
    );
    assert_eq!(template["image_config"]["working_dir"], "/workspace");
    let id = template["id"].as_str().unwrap();
    assert_eq!(lab.get(&format!("/v1/template/{id}")).await.expect(200).json(), *template);
    lab.get("/v1/template/tpl-aaaaaaaaaaaaaaaaaaaa").await.expect(404);
    // Built again, it is the same template.
    lab.post("/v1/template/system", json!({"name": TEMPLATE})).await.expect(200);
    assert_eq!(lab.get("/v1/templates").await.json()["items"][0]["id"], id);
}

#[tokio::test]
async fn a_build_is_told_line_by_line() {
    use wire::node::BuildEvent;
    let lab = Lab::start().await;
    let answer = lab.post("/v1/template/system", json!({"name": TEMPLATE})).await.expect(200);
    let lines: Vec<BuildEvent> = answer
        .body
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert!(matches!(&lines[..], [BuildEvent::Progress(_), BuildEvent::Done(_)]));

    *lab.node.inner.build.lock().unwrap() =
        vec![BuildEvent::Failed(wire::node::BuildFailure { message: "no network".into() })];
    let answer = lab.post("/v1/template/system", json!({"name": "system/new"})).await.expect(200);
    assert!(String::from_utf8_lossy(&answer.body).contains("no network"));
    lab.post("/v1/sandbox", json!({"template_name": "system/new"})).await.expect(404);

    lab.post("/v1/template/system", json!({"name": "system/unknown"})).await.expect(404);
    assert_eq!(lab.post("/v1/template/system", json!({})).await.expect(400).wrong_fields(), ["name"]);
}

#[tokio::test]
async fn a_build_whose_outcome_is_lost_is_cut_off() {
    use tokio::io::AsyncReadExt;
    use wire::node::BuildEvent;
    let lab = Lab::start().await;
    *lab.node.inner.build.lock().unwrap() =
        vec![BuildEvent::Progress(wire::node::BuildProgress { message: "working".into() })];
    let body = json!({"name": TEMPLATE}).to_string();
    let mut stream = lab
        .raw("POST", "/v1/template/system", &format!("content-length: {}\r\n", body.len()), body.as_bytes())
        .await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("working"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "a cut answer must not look whole");
}

#[tokio::test]
async fn an_inspection_shows_every_view_and_no_secret() {
    let lab = Lab::start().await;
    let id = lab.post("/v1/sandbox", json!({"env_vars": {"TOKEN": "s3cret"}})).await.expect(201).id();
    let answer = lab.get(&format!("/v1/sandbox/{id}/inspect")).await.expect(200);
    let views = answer.json();
    assert_eq!(views["store"]["observed"], "running");
    for view in ["node", "engine", "guest"] {
        assert_eq!(views[view]["view"], view);
    }
    assert!(!String::from_utf8_lossy(&answer.body).contains("s3cret"));
}

#[tokio::test]
async fn health_says_what_is_wrong() {
    let mut lab = Lab::start().await;
    lab.call("GET", "/healthz", &[], "").await.expect(200);
    lab.call("GET", "/readyz", &[], "").await.expect(200);
    lab.node.stop();
    let answer = lab.call("GET", "/readyz", &[], "").await.expect(503);
    assert_eq!(answer.json()["problems"], json!(["no node can be reached"]));
    lab.call("GET", "/healthz", &[], "").await.expect(200);
    lab.node.start();
    lab.call("GET", "/readyz", &[], "").await.expect(200);
}

#[tokio::test]
async fn a_request_to_nowhere_leaves_its_connection_whole() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let lab = Lab::start().await;
    let mut answers = String::new();
    let mut connection = lab.raw("DELETE", "/v1/nowhere", "content-length: 4\r\n", b"").await;
    // Clients send a body after its head. Nothing is answered meanwhile, so what they send next is heard.
    let early = tokio::time::timeout(Duration::from_millis(100), connection.read_u8()).await;
    assert!(early.is_err(), "answered before the body was there");
    let next = format!(
        "GET /v1/whoami HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        lab.key
    );
    connection.write_all(format!("body{next}").as_bytes()).await.unwrap();
    connection.read_to_string(&mut answers).await.unwrap();
    let statuses: Vec<&str> = answers.matches("HTTP/1.1 ").collect();
    assert!(statuses.len() == 2 && answers.starts_with("HTTP/1.1 404"), "{answers}");
}
