//! Every route, asked with every kind of key that should not open it.
//!
//! The routes come from the router's own source. The lists of exceptions may only shrink.

use serde_json::json;

use crate::support::{Access, Lab, Route, routes};

/// Routes that need no key.
const OPEN: [&str; 4] = ["GET /healthz", "GET /readyz", "GET /v1/openapi.json", "GET /docs"];

/// Routes with an id in them that another team's key opens, and why.
const SHARED: [(&str, &str); 1] =
    [("GET /v1/template/{id}", "every template is the system's, and everybody's")];

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
    json!({"command": "true", "path": "/x", "name": "x"}).to_string()
}

/// The path of a route, naming an object of the first team.
async fn path(lab: &Lab, route: &Route, sandbox: &str) -> String {
    let template = lab.get("/v1/templates").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let id = if route.path.starts_with("/v1/template/") { &template } else { sandbox };
    let mut path = String::new();
    let mut rest = route.path.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap();
        path += before;
        path += if name == "id" { id } else { "x" };
        rest = after;
    }
    path += rest;
    match QUERIES.iter().find(|(end, _)| route.path.ends_with(end)) {
        Some((_, query)) => format!("{path}?{query}"),
        None => path,
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
    let id = lab.sandbox().await;
    let long = "x".repeat(4000);
    let wrong = format!("Bearer {}", control::keys::generate().unwrap());
    let garbage = ["", "Bearer ", "atoll_0000", "Basic abc", "\u{ff}", &long, &wrong];
    let keys: Vec<Option<&str>> = [None].into_iter().chain(garbage.map(Some)).collect();
    for route in closed() {
        let path = path(&lab, &route, id.as_str()).await;
        for key in &keys {
            let headers: Vec<_> = key.iter().map(|key| ("authorization", *key)).collect();
            let answer = lab.call(&route.method, &path, &headers, body()).await;
            assert_eq!(answer.status, 401, "{} with {key:?}", route.name());
            assert_eq!(answer.code(), "unauthorized", "{}", route.name());
            assert_eq!(answer.headers["www-authenticate"], "Bearer", "{}", route.name());
        }
    }
    assert!(lab.node.has(&id));
}

#[tokio::test]
async fn another_teams_objects_are_not_there() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let of_teams = closed().into_iter().filter(|route| route.access != Access::Operator);
    for route in of_teams.filter(|route| route.path.contains('{')) {
        let path = path(&lab, &route, id.as_str()).await;
        let mut headers = vec![("authorization", lab.other_key.as_str())];
        if route.path.ends_with("/connect") {
            headers.extend(UPGRADE);
        }
        let answer = lab.call(&route.method, &path, &headers, body()).await;
        let shared = SHARED.iter().any(|(name, _)| *name == route.name());
        assert_eq!(answer.status != 404, shared, "{}: {} {}", route.name(), answer.status, answer.text());
        if !shared {
            let object = path.split('/').nth(3).unwrap();
            let expect = format!("there is no {} {object:?}", path.split('/').nth(2).unwrap());
            assert_eq!(answer.message(), expect, "{}", route.name());
        }
    }
    assert!(lab.node.has(&id));
    assert!(lab.node.inner.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_fleet_is_the_operators_business() {
    let lab = Lab::start().await;
    for route in closed().into_iter().filter(|route| route.access == Access::Operator) {
        let path = path(&lab, &route, "sbx-aaaaaaaaaaaaaaaaaaaa").await;
        let answer = lab.with_key(&lab.other_key, &route.method, &path, body()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (403, "operator_only"),
            "{}",
            route.name()
        );
    }
}
