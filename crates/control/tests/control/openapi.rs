//! The document of the API against the router and the answers it describes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::{Access, Lab, routes};

/// Where failures get their status and code.
const RESPOND: &str = include_str!("../../src/http/respond.rs");

/// Of routes that are not there, and methods that paths have not: no operation can answer so.
const OF_NO_OPERATION: [(&str, &str); 2] =
    [("METHOD_NOT_ALLOWED", "method_not_allowed"), ("NOT_FOUND", "no_such_route")];

async fn document(lab: &Lab) -> Value {
    lab.call("GET", "/v1/openapi.json", &[], "").await.expect(200).json()
}

/// A path as others may call its parts, and without a slash at its end.
fn nameless(path: &str) -> String {
    let mut out = String::new();
    for part in path.trim_end_matches('/').split('/').skip(1) {
        out += if part.starts_with('{') { "/{}" } else { "/" };
        out += if part.starts_with('{') { "" } else { part };
    }
    out
}

/// Who may call an operation, as the document says.
fn access(operation: &Value) -> Access {
    match operation["security"][0]["bearer"].as_array() {
        None => Access::Public,
        Some(roles) if roles.iter().any(|role| role == "operator") => Access::Operator,
        Some(roles) if roles.is_empty() => Access::Keyed,
        Some(_) => Access::Team,
    }
}

/// What the router has: where a route is open only if configured so, it is closed.
fn routed() -> BTreeMap<String, Access> {
    let mut routed = BTreeMap::new();
    for route in routes() {
        let name = format!("{} {}", route.method, nameless(&route.path));
        let known = routed.entry(name).or_insert(route.access);
        if *known == Access::Public {
            *known = route.access;
        }
    }
    routed
}

fn documented(document: &Value) -> BTreeMap<String, Access> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
    });
    operations
        .map(|(path, method, operation)| {
            (format!("{} {}", method.to_uppercase(), nameless(path)), access(operation))
        })
        .collect()
}

#[tokio::test]
async fn every_operation_that_is_documented_is_there_and_opened_by_the_keys_it_says() {
    let lab = Lab::start().await;
    let routed = routed();
    for (name, access) in documented(&document(&lab).await) {
        let found = routed.get(&name);
        assert_eq!(
            found,
            Some(&access),
            "{name}: see xtask/src/contract/public, then run xtask's `contract`"
        );
    }
}

#[tokio::test]
async fn every_route_is_documented() {
    let lab = Lab::start().await;
    let documented = documented(&document(&lab).await);
    let ours = routed().into_keys().filter(|name| !is_dialect(name));
    let missing: Vec<_> = ours.filter(|name| !documented.contains_key(name)).collect();
    assert!(
        missing.is_empty(),
        "describe in xtask/src/contract/public, then run xtask's `contract`: {missing:?}"
    );
}

/// Dialects are described by those whose they are; what we understand of them is on a page of its own.
fn is_dialect(name: &str) -> bool {
    name.contains(" /api/")
}

#[test]
fn every_route_of_a_dialect_is_on_its_page() {
    let page = include_str!("../../../../docs/sandbox0.md");
    let routes: Vec<_> = routes().into_iter().map(|route| route.name()).filter(|it| is_dialect(it)).collect();
    assert!(routes.len() > 4, "{routes:?}");
    for name in routes {
        assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/sandbox0.md");
    }
}

#[tokio::test]
async fn every_code_of_a_failure_is_documented_with_its_status() {
    let lab = Lab::start().await;
    let document = document(&lab).await;
    let mut documented = BTreeSet::new();
    for (name, response) in document["components"]["responses"].as_object().unwrap() {
        let status = status_of(&document, name);
        for code in response["x-codes"].as_array().unwrap() {
            documented.insert((status.clone(), code.as_str().unwrap().to_owned()));
        }
    }
    let told = told(RESPOND);
    let missing: Vec<_> = told.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&told).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "see xtask/src/contract/public/failures.rs: not documented: {missing:?}; never told: {invented:?}"
    );
}

/// The status under which operations refer to a failure.
fn status_of(document: &Value, failure: &str) -> String {
    let reference = format!("#/components/responses/{failure}");
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|it| it.as_object().unwrap().values());
    let mut responses = operations.flat_map(|operation| operation["responses"].as_object().unwrap());
    let found = responses.find(|(_, response)| response["$ref"] == *reference);
    found.unwrap_or_else(|| panic!("no operation fails with {failure}")).0.clone()
}

/// Every `StatusCode::…, "code"` in a piece of source.
fn told(source: &str) -> BTreeSet<(String, String)> {
    let source = source.split("#[cfg(test)]").next().unwrap();
    let mut told = BTreeSet::new();
    for piece in source.split("StatusCode::").skip(1) {
        let (name, rest) = piece.split_once(|it: char| !it.is_ascii_uppercase() && it != '_').unwrap();
        let Some((between, code)) = rest.split_once('"') else { continue };
        if between.trim().is_empty() && !OF_NO_OPERATION.contains(&(name, code.split('"').next().unwrap())) {
            told.insert((number(name), code.split('"').next().unwrap().to_owned()));
        }
    }
    assert!(told.len() > 10, "failures are no longer written as this reads them: {told:?}");
    told
}

fn number(name: &str) -> String {
    let all = (100..600).filter_map(|number| http::StatusCode::from_u16(number).ok());
    let upper = |status: &http::StatusCode| {
        status.canonical_reason().unwrap_or_default().to_uppercase().replace([' ', '-'], "_")
    };
    let found = all.into_iter().find(|status| upper(status) == name);
    found.unwrap_or_else(|| panic!("{name} is no status")).as_str().to_owned()
}

#[tokio::test]
async fn the_reference_is_a_page_that_loads_nothing() {
    let lab = Lab::start().await;
    let page = lab.call("GET", "/docs", &[], "").await.expect(200);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let text = page.text();
    for operation in documented(&document(&lab).await).keys() {
        let (method, _) = operation.split_once(' ').unwrap();
        assert!(text.contains(&format!(">{method}</span>")), "{operation}");
    }
    for loading in ["<script", "<link", "<img", "@import", "url(", "src="] {
        assert!(!text.contains(loading), "the page has {loading}");
    }
}
