//! Every route, asked with every kind of key that should not open it.
//!
//! The routes come from the router's own source. The lists of exceptions may only shrink.

use std::time::Duration;

use serde_json::json;

use crate::support::{Access, Lab, Route, routes};

/// Routes that need no key.
const OPEN: [&str; 4] = ["GET /healthz", "GET /readyz", "GET /v1/openapi.json", "GET /docs"];

/// Routes with an id in them that another team's key opens, and why.
const SHARED: [(&str, &str); 0] = [];

/// Queries without which a route is refused before anything is looked up.
const QUERIES: [(&str, &str); 1] = [("/filesystem/write-file", "path=/x")];

/// What a client sends that wants a WebSocket; others ignore it.
const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A body with what any route requires, so that it is refused for its key and nothing else.
fn body() -> String {
    let commands = [json!({"command": "true"})];
    json!({
        "command": "true",
        "path": "/x",
        "name": "x",
        "signal": "TERM",
        "commands": commands,
        "paths": ["/x"],
        "files": ["/x"],
        "src_path": "/x",
        "dst_path": "/y",
        "pattern": "x",
        "mode": "755",
        "find": "x",
        "edits": [{"find": "x"}],
        "cols": 80,
        "rows": 24,
        "timeout": 60,
        "port": 8080,
        "ports": [8080],
        "uri": "r.test/it:v1",
        "template_id": "x",
        "spec": {"mainContainer": {"image": "r.test/it:v1", "resources": {"memory": "1Gi"}}},
    })
    .to_string()
}

/// Objects of the first team, for the `{id}` of a path.
struct Objects {
    sandbox: String,
    template: String,
    template_name: String,
    snapshot: String,
    key: String,
    team: String,
}

impl Objects {
    async fn of(lab: &Lab) -> Self {
        let me = lab.get("/v1/me").await.expect(200).json();
        let sandbox = lab.sandbox().await.to_string();
        let taken =
            lab.post(&format!("/v1/sandbox/{sandbox}/snapshot/create"), json!({})).await.expect(201).json();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        Self {
            sandbox,
            snapshot: text(&taken["id"]),
            template: lab.template("theirs").await,
            template_name: "theirs".to_owned(),
            key: text(&me["key"]["id"]),
            team: text(&me["team"]["id"]),
        }
    }

    /// The path of a route, naming one of these.
    fn path(&self, route: &Route) -> String {
        let kinds = [
            ("/v1/sandbox/", &self.sandbox),
            ("/v1/template/", &self.template),
            ("/api/v1/templates/", &self.template_name),
            ("/v1/snapshot/", &self.snapshot),
            ("/v1/key/", &self.key),
            ("/v1/team/", &self.team),
        ];
        let mut path = String::new();
        let mut rest = route.path.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap();
            path += before;
            let kind = kinds.iter().find(|(prefix, _)| *prefix == path);
            path += match (name, kind) {
                ("id", Some((_, id))) => id,
                ("id", None) => panic!("{} names an object that this test has none of", route.path),
                _ => "x",
            };
            rest = after;
        }
        path += rest;
        match QUERIES.iter().find(|(end, _)| route.path.ends_with(end)) {
            Some((_, query)) => format!("{path}?{query}"),
            None => path,
        }
    }
}

/// Routes that need a key.
fn closed() -> Vec<Route> {
    routes().into_iter().filter(|route| route.access != Access::Public).collect()
}

fn names(routes: impl IntoIterator<Item = Route>) -> Vec<String> {
    routes.into_iter().map(|route| route.name()).collect()
}

#[tokio::test]
async fn what_needs_no_key_is_a_short_list() {
    let closed = names(closed());
    let open = routes().into_iter().filter(|route| route.access == Access::Public);
    // One that can be opened by configuration is closed unless it is.
    let always = names(open).into_iter().filter(|name| !closed.contains(name));
    assert_eq!(always.collect::<Vec<_>>(), OPEN);
}

#[tokio::test]
async fn without_a_good_key_nothing_can_be_reached() {
    let lab = Lab::start().await;
    let objects = Objects::of(&lab).await;
    let both = json!(["team", "operator"]);
    let (revoked_id, revoked) = lab.new_key(json!({"name": "revoked", "scopes": both})).await;
    let (_, expired) = lab.new_key(json!({"name": "expired", "scopes": both, "expires_in": 60})).await;
    for key in [&revoked, &expired] {
        lab.with_key(key, "GET", "/v1/sandboxes", "").await.expect(200);
    }
    lab.delete(&format!("/v1/key/{revoked_id}")).await.expect(204);
    lab.pass(Duration::from_secs(60));
    let long = "x".repeat(4000);
    let wrong = format!("Bearer {}", control::keys::generate().unwrap());
    let bad = ["", "Bearer ", "atoll_0000", "Basic abc", "\u{ff}", &long, &wrong, &revoked, &expired];
    let keys: Vec<Option<&str>> = [None].into_iter().chain(bad.map(Some)).collect();
    for route in closed() {
        for key in &keys {
            let headers: Vec<_> = key.iter().map(|key| ("authorization", *key)).collect();
            let answer = lab.call(&route.method, &objects.path(&route), &headers, body()).await;
            assert_eq!(answer.status, 401, "{} with {key:?}", route.name());
            assert_eq!(answer.code(), "unauthorized", "{}", route.name());
            assert_eq!(answer.headers["www-authenticate"], "Bearer", "{}", route.name());
        }
    }
    assert!(lab.node.has(&objects.sandbox.parse().unwrap()));
}

#[tokio::test]
async fn another_teams_objects_are_not_there() {
    let lab = Lab::start().await;
    let objects = Objects::of(&lab).await;
    let of_teams = closed().into_iter().filter(|route| route.access != Access::Operator);
    for route in of_teams.filter(|route| route.path.contains('{')) {
        let path = objects.path(&route);
        let mut headers = vec![("authorization", lab.other_key.as_str())];
        if route.path.ends_with("/connect") {
            headers.extend(UPGRADE);
        }
        let answer = lab.call(&route.method, &path, &headers, body()).await;
        let shared = SHARED.iter().any(|(name, _)| *name == route.name());
        assert_eq!(answer.status != 404, shared, "{}: {} {}", route.name(), answer.status, answer.text());
        if !shared {
            let mut words = path.trim_start_matches("/api").split('/').skip(2);
            let kind = words.next().unwrap().trim_end_matches('s');
            let expect = format!("there is no {kind} {:?}", words.next().unwrap());
            assert_eq!(answer.message(), expect, "{}", route.name());
        }
    }
    assert!(lab.node.has(&objects.sandbox.parse().unwrap()));
    assert!(lab.node.inner.requests.lock().unwrap().is_empty());
    lab.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_key_opens_what_its_scopes_say() {
    let lab = Lab::start().await;
    let objects = Objects::of(&lab).await;
    let (_, operator) = lab.new_key(json!({"name": "operator", "scopes": ["operator"]})).await;
    for route in closed() {
        let (key, code) = match route.access {
            Access::Operator => (&lab.other_key, "operator_only"),
            Access::Team => (&operator, "team_only"),
            _ => continue,
        };
        let answer = lab.with_key(key, &route.method, &objects.path(&route), body()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, code), "{}", route.name());
    }
    assert!(lab.node.has(&objects.sandbox.parse().unwrap()));
}
