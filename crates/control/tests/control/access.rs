//! Who may do what. A new route belongs in one of these tables.

use serde_json::json;

use crate::support::Lab;

/// Routes of one team's objects; `{id}` is a sandbox of the first team, `{tpl}` a template that is not there.
const TEAM_ROUTES: &[(&str, &str)] = &[
    ("POST", "/v1/sandbox"),
    ("POST", "/v1/sandbox/"),
    ("GET", "/v1/sandboxes"),
    ("GET", "/v1/sandbox/{id}"),
    ("GET", "/v1/sandbox/{id}/"),
    ("DELETE", "/v1/sandbox/{id}"),
    ("DELETE", "/v1/sandbox/{id}/"),
    ("GET", "/v1/sandbox/{id}/inspect"),
    ("POST", "/v1/sandbox/{id}/process/execute"),
    ("POST", "/v1/sandbox/{id}/process/stream"),
    ("POST", "/v1/sandbox/{id}/filesystem/write-file?path=x"),
    ("POST", "/v1/sandbox/{id}/filesystem/read-file"),
    ("GET", "/v1/template/{tpl}"),
    ("GET", "/v1/templates"),
];

/// Routes of the fleet.
const OPERATOR_ROUTES: &[(&str, &str)] =
    &[("POST", "/v1/template/system"), ("GET", "/v1/nodes"), ("GET", "/v1/leaks"), ("GET", "/metrics")];

#[tokio::test]
async fn without_a_key_nothing_can_be_reached() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    for (method, path) in TEAM_ROUTES.iter().chain(OPERATOR_ROUTES) {
        let path = path.replace("{id}", id.as_str()).replace("{tpl}", "tpl-aaaaaaaaaaaaaaaaaaaa");
        let long = "x".repeat(4000);
        let garbage = [
            None,
            Some(""),
            Some("Bearer "),
            Some("atoll_0000"),
            Some("Basic abc"),
            Some("\u{ff}"),
            Some(long.as_str()),
        ];
        for key in garbage {
            let headers: Vec<_> = key.iter().map(|key| ("authorization", *key)).collect();
            let answer = lab.call(method, &path, &headers, "").await;
            assert_eq!(answer.status, 401, "{method} {path} with {key:?}");
            assert_eq!(answer.code(), "unauthorized");
        }
    }
    assert!(lab.node.has(&id));
}

#[tokio::test]
async fn another_teams_sandbox_is_not_there() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let command = json!({"command": "true", "path": "/x"}).to_string();
    for (method, path) in TEAM_ROUTES.iter().filter(|(_, path)| path.contains("{id}")) {
        let path = path.replace("{id}", id.as_str());
        let answer = lab.with_key(&lab.other_key, method, &path, command.clone()).await;
        assert_eq!(answer.status, 404, "{method} {path}");
        assert!(answer.message().contains("there is no sandbox"), "{}", answer.message());
    }
    assert!(lab.node.has(&id));
    assert!(lab.node.inner.requests.lock().unwrap().is_empty());
    let list = lab.with_key(&lab.other_key, "GET", "/v1/sandboxes", "").await.expect(200);
    assert_eq!(list.json(), json!({"items": [], "total_items": 0}));
}

#[tokio::test]
async fn the_fleet_is_the_operators_business() {
    let lab = Lab::start().await;
    for (method, path) in OPERATOR_ROUTES {
        let answer = lab.with_key(&lab.other_key, method, path, "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (403, "operator_only"),
            "{method} {path}"
        );
    }
    let nodes = lab.get("/v1/nodes").await.expect(200).json();
    assert_eq!(
        (&nodes["items"][0]["reachable"], &nodes["items"][0]["report"]["engine"]),
        (&json!(true), &json!("test"))
    );
    assert_eq!(lab.get("/v1/leaks").await.expect(200).json()["items"][0]["name"], "/planted");
    assert_eq!(lab.get("/metrics").await.expect(200).body, "# rendered\n");
}

#[tokio::test]
async fn keys_are_taken_from_either_header_in_any_form() {
    let lab = Lab::start().await;
    let (bearer, odd) = (format!("Bearer {}", lab.key), format!("bEARER {}", lab.key));
    for headers in [
        vec![("authorization", lab.key.as_str())],
        vec![("authorization", bearer.as_str())],
        vec![("authorization", odd.as_str())],
        vec![("leap0-authorization", bearer.as_str())],
        vec![("leap0-authorization", lab.key.as_str()), ("authorization", "Bearer the-apps-own")],
    ] {
        lab.call("GET", "/v1/sandboxes", &headers, "").await.expect(200);
    }
    let wrong_wins = [("leap0-authorization", "wrong"), ("authorization", bearer.as_str())];
    lab.call("GET", "/v1/sandboxes", &wrong_wins, "").await.expect(401);
}

#[tokio::test]
async fn the_first_key_is_only_the_first() {
    let mut lab = Lab::start().await;
    let first = std::mem::replace(&mut lab.key, control::keys::generate().unwrap());
    lab.crash_and_restart().await;
    lab.get("/v1/sandboxes").await.expect(401);
    lab.with_key(&first, "GET", "/v1/sandboxes", "").await.expect(200);
    // Nothing in the data directory contains the key.
    for entry in std::fs::read_dir(lab.data_dir()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(first.len()).any(|window| window == first.as_bytes()));
    }
}
