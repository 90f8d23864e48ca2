//! The life of a key.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Lab;

async fn keys(lab: &Lab, key: &str, query: &str) -> Value {
    lab.with_key(key, "GET", &format!("/v1/keys{query}"), "").await.expect(200).json()
}

async fn me(lab: &Lab, key: &str) -> Value {
    lab.with_key(key, "GET", "/v1/me", "").await.expect(200).json()
}

#[tokio::test]
async fn a_key_is_shown_once_and_says_what_it_is() {
    let lab = Lab::start().await;
    let made = lab.post("/v1/key", json!({"name": "ci", "expires_in": 3600})).await.expect(201).json();
    let key = made["key"].as_str().unwrap();
    assert!(control::keys::is_well_formed(key));
    assert_eq!((&made["name"], &made["scopes"]), (&json!("ci"), &json!(["team"])));
    assert_eq!(made["created_at"], "2023-11-14T22:13:20Z");
    assert_eq!(made["expires_at"], "2023-11-14T23:13:20Z");
    assert!(made.get("last_used_at").is_none());

    let shown = me(&lab, key).await;
    assert_eq!((&shown["key"]["id"], &shown["key"]["team"]), (&made["id"], &shown["team"]["id"]));
    assert_eq!(shown["team"]["name"], "default");
    assert_eq!(shown["team"]["limits"]["sandboxes"], 1000);
    assert_eq!(
        shown["team"]["use"],
        json!({"sandboxes": 0, "vcpu": 0, "memory_mib": 0, "keys": 2, "templates": 0})
    );

    let listed = lab.get("/v1/keys").await.expect(200).text();
    assert!(listed.contains("\"ci\"") && !listed.contains(key));
}

#[tokio::test]
async fn a_key_that_is_revoked_opens_nothing_from_then_on() {
    let lab = Lab::start().await;
    let (id, key) = lab.new_key(json!({"name": "short-lived"})).await;
    for _ in 0..3 {
        lab.with_key(&key, "GET", "/v1/sandboxes", "").await.expect(200);
    }
    lab.with_key(&key, "DELETE", &format!("/v1/key/{id}"), "").await.expect(204);
    lab.with_key(&key, "GET", "/v1/sandboxes", "").await.expect(401);
    lab.delete(&format!("/v1/key/{id}")).await.expect(404);
}

#[tokio::test]
async fn another_process_on_the_same_store_knows_it_too() {
    let mut lab = Lab::start().await;
    let (id, key) = lab.new_key(json!({"name": "shared"})).await;
    let first = lab.address.clone();
    let second = lab.serve_again().await;
    let ask = async |lab: &mut Lab, address: &str| {
        lab.address = address.to_owned();
        lab.with_key(&key, "GET", "/v1/sandboxes", "").await.status.as_u16()
    };
    assert_eq!((ask(&mut lab, &first).await, ask(&mut lab, &second).await), (200, 200));
    lab.address = first.clone();
    lab.delete(&format!("/v1/key/{id}")).await.expect(204);
    assert_eq!((ask(&mut lab, &first).await, ask(&mut lab, &second).await), (401, 401));
}

#[tokio::test]
async fn an_expired_key_opens_nothing_and_gives_its_place_away() {
    let lab = Lab::start().await;
    let mine = me(&lab, &lab.key).await["team"]["id"].as_str().unwrap().to_owned();
    let limit = json!({"limits": {"keys": 2}});
    lab.with_key(&lab.key, "PATCH", &format!("/v1/team/{mine}"), limit.to_string()).await.expect(200);
    let (_, key) = lab.new_key(json!({"name": "one", "expires_in": 60})).await;
    let full = lab.post("/v1/key", json!({"name": "two"})).await.expect(409);
    assert_eq!(full.code(), "team_limit");
    assert!(full.message().contains("2 of at most 2 keys"), "{}", full.message());
    lab.pass(Duration::from_secs(59));
    lab.with_key(&key, "GET", "/v1/me", "").await.expect(200);
    lab.pass(Duration::from_secs(1));
    lab.with_key(&key, "GET", "/v1/me", "").await.expect(401);
    lab.new_key(json!({"name": "two"})).await;
    assert_eq!(keys(&lab, &lab.key, "").await["total_items"], 3, "two of ours and one of the other team");
}

#[tokio::test]
async fn teams_keep_to_their_own_keys_and_operators_see_all() {
    let lab = Lab::start().await;
    let other = me(&lab, &lab.other_key).await;
    let own = lab.new_key(json!({"name": "plain"})).await.1;
    assert_eq!(keys(&lab, &lab.other_key, "").await["total_items"], 1);
    assert_eq!(keys(&lab, &own, "").await["total_items"], 2);
    assert_eq!(keys(&lab, &lab.key, "").await["total_items"], 3);
    let team = other["team"]["id"].as_str().unwrap();
    assert_eq!(keys(&lab, &lab.key, &format!("?team={team}")).await["items"][0], other["key"]);
    let paged = keys(&lab, &lab.key, "?page=2&page-size=2").await;
    assert_eq!((paged["items"].as_array().unwrap().len(), &paged["total_items"]), (1, &json!(3)));

    for body in [json!({"name": "x", "team": team}), json!({"name": "x", "scopes": ["operator"]})] {
        let answer = lab.with_key(&own, "POST", "/v1/key", body.to_string()).await.expect(403);
        assert_eq!(answer.code(), "operator_only");
    }
    lab.with_key(&own, "GET", &format!("/v1/keys?team={team}"), "").await.expect(403);
    let first = me(&lab, &lab.key).await["key"]["id"].as_str().unwrap().to_owned();
    lab.with_key(&own, "DELETE", &format!("/v1/key/{first}"), "").await.expect(403);
    let made = lab.post("/v1/key", json!({"name": "theirs", "team": team})).await.expect(201).json();
    let shown = me(&lab, made["key"].as_str().unwrap()).await;
    assert_eq!(shown["team"]["name"], "other");
    let nowhere = json!({"name": "x", "team": "team-aaaaaaaaaaaaaaaaaaaa"});
    lab.post("/v1/key", nowhere).await.expect(404);
}

#[tokio::test]
async fn the_last_operator_cannot_be_lost() {
    let lab = Lab::start().await;
    let shown = me(&lab, &lab.key).await;
    let (first, team) = (shown["key"]["id"].as_str().unwrap(), shown["team"]["id"].as_str().unwrap());
    for path in [format!("/v1/key/{first}"), format!("/v1/team/{team}")] {
        let answer = lab.delete(&path).await.expect(409);
        assert_eq!(answer.code(), "last_operator_key", "{path}");
        assert!(answer.message().contains("make another one first"));
    }
    // One that expires does not count once it has.
    lab.new_key(json!({"name": "guest", "scopes": ["operator"], "expires_in": 10})).await;
    lab.pass(Duration::from_secs(10));
    lab.delete(&format!("/v1/key/{first}")).await.expect(409);
    let (_, second) = lab.new_key(json!({"name": "second", "scopes": ["operator"]})).await;
    lab.delete(&format!("/v1/key/{first}")).await.expect(204);
    lab.get("/v1/me").await.expect(401);
    lab.with_key(&second, "GET", "/v1/nodes", "").await.expect(200);
    lab.with_key(&second, "GET", "/v1/sandboxes", "").await.expect(403);
}

#[tokio::test]
async fn two_operators_cannot_revoke_each_other_at_once() {
    let lab = Lab::start().await;
    let (second, second_key) = lab.new_key(json!({"name": "second", "scopes": ["operator"]})).await;
    let first = me(&lab, &lab.key).await["key"]["id"].as_str().unwrap().to_owned();
    let (theirs, ours) = (format!("/v1/key/{second}"), format!("/v1/key/{first}"));
    let (one, two) = tokio::join!(lab.delete(&theirs), lab.with_key(&second_key, "DELETE", &ours, ""));
    let statuses = [one.status.as_u16(), two.status.as_u16()];
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
}

#[tokio::test]
async fn when_a_key_was_used_is_known_to_the_minute() {
    let lab = Lab::start().await;
    let (_, key) = lab.new_key(json!({"name": "used"})).await;
    let last_used = async || me(&lab, &key).await["key"]["last_used_at"].clone();
    assert_eq!(last_used().await, "2023-11-14T22:13:20Z");
    lab.pass(Duration::from_secs(59));
    assert_eq!(last_used().await, "2023-11-14T22:13:20Z");
    lab.pass(Duration::from_secs(1));
    assert_eq!(last_used().await, "2023-11-14T22:14:20Z");
}
