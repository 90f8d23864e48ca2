//! Teams, and how much each may have.

use std::time::Instant;

use control::Limits;
use serde_json::{Value, json};
use wire::public::team::TeamLimits;

use crate::support::Lab;

/// A new team with these limits: its id, and a key of it.
async fn team(lab: &Lab, limits: Value) -> (String, String) {
    let made = lab.post("/v1/team", json!({"name": "small", "limits": limits})).await.expect(201).json();
    let id = made["id"].as_str().unwrap().to_owned();
    let key = lab.new_key(json!({"name": "theirs", "team": id})).await.1;
    (id, key)
}

async fn patch(lab: &Lab, id: &str, body: Value) -> Value {
    lab.with_key(&lab.key, "PATCH", &format!("/v1/team/{id}"), body.to_string()).await.expect(200).json()
}

#[tokio::test]
async fn a_team_from_its_making_to_its_end() {
    let lab = Lab::start().await;
    let (id, key) = team(&lab, json!({"sandboxes": 2})).await;
    let again = lab.post("/v1/team", json!({"name": "small"})).await.expect(409);
    assert_eq!(again.code(), "already_exists");
    let sandbox = lab.with_key(&key, "POST", "/v1/sandbox", "").await.expect(201).id();

    let shown = lab.get(&format!("/v1/team/{id}")).await.expect(200).json();
    assert_eq!((&shown["limits"]["sandboxes"], &shown["limits"]["keys"]), (&json!(2), &json!(100)));
    assert_eq!(
        shown["use"],
        json!({"sandboxes": 1, "vcpu": 1, "memory_mib": 1024, "keys": 1, "templates": 0})
    );
    let all = lab.get("/v1/teams").await.expect(200).json();
    let names: Vec<_> = all["items"].as_array().unwrap().iter().map(|team| &team["name"]).collect();
    assert_eq!((json!(names), &all["total_items"]), (json!(["default", "other", "small"]), &json!(3)));

    let changed = patch(&lab, &id, json!({"name": "tiny", "limits": {"vcpu": 3}})).await;
    assert_eq!(
        (&changed["name"], &changed["limits"]["sandboxes"], &changed["limits"]["vcpu"]),
        (&json!("tiny"), &json!(2), &json!(3))
    );
    let reset = patch(&lab, &id, json!({"limits": {"sandboxes": null}})).await;
    assert_eq!((&reset["limits"]["sandboxes"], &reset["limits"]["vcpu"]), (&json!(1000), &json!(3)));
    let taken = json!({"name": "other"}).to_string();
    lab.with_key(&lab.key, "PATCH", &format!("/v1/team/{id}"), taken).await.expect(409);

    let refused = lab.delete(&format!("/v1/team/{id}")).await.expect(409);
    assert_eq!(refused.code(), "team_in_use");
    lab.with_key(&key, "DELETE", &format!("/v1/sandbox/{sandbox}"), "").await.expect(204);
    lab.delete(&format!("/v1/team/{id}")).await.expect(204);
    lab.with_key(&key, "GET", "/v1/me", "").await.expect(401);
    lab.get(&format!("/v1/team/{id}")).await.expect(404);
    lab.delete(&format!("/v1/team/{id}")).await.expect(404);
}

#[tokio::test]
async fn every_wrong_limit_is_named() {
    let lab = Lab::start().await;
    let body = json!({"name": "", "limits": {"sandboxes": -1, "cpus": 3}});
    let answer = lab.post("/v1/team", body).await.expect(400);
    assert_eq!(answer.wrong_fields(), ["name", "limits.cpus", "limits.sandboxes"]);
}

#[tokio::test]
async fn creates_at_once_cannot_pass_the_limit_together() {
    let lab = Lab::start().await;
    let (_, key) = team(&lab, json!({"sandboxes": 3})).await;
    let creates = (0..12).map(|_| lab.with_key(&key, "POST", "/v1/sandbox", ""));
    let answers = futures_util::future::join_all(creates).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 3);
    for refused in answers.into_iter().filter(|answer| answer.status != 201) {
        let refused = refused.expect(409);
        assert_eq!(refused.code(), "team_limit");
        assert!(refused.message().contains("3 of at most 3 sandboxes"), "{}", refused.message());
    }
    // The first team is not concerned.
    lab.sandbox().await;
}

#[tokio::test]
async fn every_part_of_a_sandbox_has_its_limit_and_gives_it_back() {
    let lab = Lab::start().await;
    let (id, key) = team(&lab, json!({"vcpu": 2, "memory_mib": 2048})).await;
    let create = async |body: Value| lab.with_key(&key, "POST", "/v1/sandbox", body.to_string()).await;
    let first = create(json!({"vcpu": 2, "memory": 512})).await.expect(201).id();
    let refused = create(json!({"vcpu": 1, "memory": 512})).await.expect(409);
    assert!(refused.message().contains("2 of at most 2 vCPU, and 1 more"), "{}", refused.message());
    lab.with_key(&key, "DELETE", &format!("/v1/sandbox/{first}"), "").await.expect(204);
    create(json!({"vcpu": 1, "memory": 2048})).await.expect(201);
    let refused = create(json!({"vcpu": 1, "memory": 512})).await.expect(409);
    assert!(refused.message().contains("2048 of at most 2048 MiB of memory"), "{}", refused.message());
    patch(&lab, &id, json!({"limits": {"memory_mib": 4096}})).await;
    create(json!({"vcpu": 1, "memory": 512})).await.expect(201);
}

#[tokio::test]
async fn the_configurations_limits_are_those_of_teams_without_their_own() {
    let team = TeamLimits { sandboxes: 1, ..Lab::limits().team };
    let lab = Lab::with(Limits { team, ..Lab::limits() }).await;
    lab.sandbox().await;
    assert_eq!(lab.post("/v1/sandbox", json!({})).await.expect(409).code(), "team_limit");
    let (id, _) = self::team(&lab, json!({})).await;
    assert_eq!(lab.get(&format!("/v1/team/{id}")).await.json()["limits"]["sandboxes"], 1);
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let lab = Lab::start().await;
    let (id, key) = team(&lab, json!({"requests_per_second": 1, "requests_burst": 4})).await;
    let began = Instant::now();
    let asks = (0..60).map(|_| lab.with_key(&key, "GET", "/v1/me", ""));
    let answers = futures_util::future::join_all(asks).await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    let earned = 4 + began.elapsed().as_secs() as usize + 1;
    assert!((4..=earned).contains(&passed), "{passed} passed, {earned} could");
    let refused = answers.into_iter().find(|answer| answer.status == 429).expect("some are refused");
    assert_eq!(refused.code(), "rate_limited");
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // Others are not concerned, and an operator gets through to raise the limit.
    lab.with_key(&lab.other_key, "GET", "/v1/me", "").await.expect(200);
    patch(&lab, &id, json!({"limits": {"requests_per_second": 1000, "requests_burst": 1000}})).await;
    lab.with_key(&key, "GET", "/v1/me", "").await.expect(200);
}

#[tokio::test]
async fn an_operator_reaches_what_operators_may_however_often_the_team_asks() {
    let lab = Lab::start().await;
    let mine = lab.get("/v1/me").await.expect(200).json()["team"]["id"].as_str().unwrap().to_owned();
    patch(&lab, &mine, json!({"limits": {"requests_per_second": 1, "requests_burst": 1}})).await;
    crate::eventually!(lab.get("/v1/me").await.status == 429);
    patch(&lab, &mine, json!({"limits": {"requests_per_second": null, "requests_burst": null}})).await;
    lab.get("/v1/me").await.expect(200);
}
