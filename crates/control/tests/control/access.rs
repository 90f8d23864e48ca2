//! What keys open, and how they are shown. Which keys open which routes: `coverage`.

use serde_json::json;

use crate::support::Lab;

#[tokio::test]
async fn a_list_has_the_own_teams_objects_alone() {
    let lab = Lab::start().await;
    lab.sandbox().await;
    let list = lab.with_key(&lab.other_key, "GET", "/v1/sandboxes", "").await.expect(200);
    assert_eq!(list.json(), json!({"items": [], "total_items": 0}));
}

#[tokio::test]
async fn operators_see_the_fleet() {
    let lab = Lab::start().await;
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
