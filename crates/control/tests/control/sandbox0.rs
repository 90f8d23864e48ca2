//! Templates in the dialect of Sandbox0's clients: the same ones that our own API has.

use serde_json::{Value, json};
use wire::node::{PullEvent, PullFailure, PullFailureCode};

use crate::eventually;
use crate::support::{Answer, Lab, TEMPLATE, resolved};

const ALL: &str = "/api/v1/templates";

fn spec(memory: &str) -> Value {
    json!({"mainContainer": {"image": "r.test/it:v1", "resources": {"memory": memory}}})
}

fn path(id: &str) -> String {
    format!("{ALL}/{id}")
}

async fn create(lab: &Lab, id: &str, spec: Value) -> Answer {
    lab.post(ALL, json!({"template_id": id, "spec": spec})).await
}

async fn put(lab: &Lab, id: &str, spec: Value) -> Answer {
    lab.with_key(&lab.key, "PUT", &path(id), json!({ "spec": spec }).to_string()).await
}

fn data(answer: Answer) -> Value {
    let mut body = answer.json();
    assert_eq!(body["success"], json!(true));
    body["data"].take()
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) -> String {
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["error"]["code"]), (status, &json!(code)), "{body}");
    assert_eq!(body["success"], json!(false));
    body["error"]["message"].as_str().unwrap().to_owned()
}

/// The template of our own API with this name.
async fn ours(lab: &Lab, name: &str) -> Value {
    let all = lab.get("/v1/templates").await.expect(200).json();
    let found = all["items"].as_array().unwrap().iter().find(|it| it["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {name} in {all}")).clone()
}

fn ids(list: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = list["templates"].as_array().unwrap();
    items.iter().map(|it| (text(&it["scope"]), text(&it["template_id"]))).collect()
}

#[tokio::test]
async fn a_template_is_one_for_both() {
    let lab = Lab::start().await;
    let given = json!({
        "displayName": "It", "tags": ["a"], "own": {"x": 1},
        "mainContainer": {
            "image": "r.test/it:v1",
            "resources": {"memory": "1.5Gi", "cpu": "1500m", "ephemeralStorage": "8Gi"},
            "env": [{"name": "A", "value": "container"}, {"name": "B", "value": "container"}],
        },
        "envVars": {"B": "all"}, "pool": {"minIdle": 1, "maxIdle": 2}, "network": {"mode": "allow-all"},
    });
    let made = data(create(&lab, " My-Env ", given.clone()).await.expect(201));
    assert_eq!(
        (&made["template_id"], &made["scope"], &made["spec"]),
        (&json!("my-env"), &json!("team"), &given)
    );
    let me = lab.get("/v1/me").await.expect(200).json();
    assert_eq!(made["team_id"], me["team"]["id"]);
    let mine = ours(&lab, "my-env").await;
    assert_eq!((&mine["memory"], &mine["vcpu"], &mine["disk"]), (&json!(1536), &json!(2), &json!(8192)));
    assert_eq!(mine["env_vars"], json!({"A": "container", "B": "all"}));
    assert_eq!(mine["uri"], "r.test/it:v1");
    let id = mine["id"].as_str().unwrap();
    lab.patch(&format!("/v1/template/{id}"), json!({"memory": 4096, "env_vars": null})).await.expect(204);
    let shown = data(lab.get(&path("MY-ENV")).await.expect(200));
    assert_eq!(shown["spec"]["mainContainer"]["resources"]["memory"], "4Gi");
    assert_eq!(shown["spec"]["mainContainer"]["resources"]["cpu"], "1500m");
    assert_eq!((&shown["spec"]["envVars"], &shown["spec"]["own"]), (&json!({}), &json!({"x": 1})));
    lab.delete(&format!("/v1/template/{id}")).await.expect(204);
    refused(&lab.get(&path("my-env")).await, 404, "not_found");
}

#[tokio::test]
async fn a_put_replaces_the_spec_and_asks_the_registry_for_another_image_alone() {
    let lab = Lab::start().await;
    create(&lab, "t", json!({"tags": ["a"], "mainContainer": spec("1Gi")["mainContainer"]}))
        .await
        .expect(201);
    eventually!(ours(&lab, "t").await["state"] == "ready");
    let id = ours(&lab, "t").await["id"].as_str().unwrap().to_owned();
    lab.patch(&format!("/v1/template/{id}"), json!({"start_cmd": "serve", "vcpu": 4})).await.expect(204);
    let pulls = lab.node.sources().len();
    let changed = data(put(&lab, "t", spec("2Gi")).await.expect(200));
    assert_eq!(changed["spec"], spec("2Gi"), "what was not said again is gone");
    assert_eq!(lab.node.sources().len(), pulls);
    let mine = ours(&lab, "t").await;
    assert_eq!((&mine["memory"], &mine["vcpu"]), (&json!(2048), &json!(1)));
    assert_eq!(mine["start_cmd"], "serve", "what the dialect has no word for stays");
    let mut other = spec("2Gi");
    other["mainContainer"]["image"] = json!("r.test/other:v1");
    put(&lab, "t", other.clone()).await.expect(200);
    assert_eq!(lab.node.sources().len(), pulls + 1);
    eventually!(data(lab.get(&path("t")).await.expect(200))["status"]["conditions"][0]["reason"] == "Ready");
    let digest = resolved("r.test/other:v1").digest;
    assert_eq!(ours(&lab, "t").await["digest"], json!(digest));
}

#[tokio::test]
async fn a_deleted_template_is_gone_everywhere_and_its_id_is_free() {
    let lab = Lab::start().await;
    create(&lab, "t", spec("1Gi")).await.expect(201);
    lab.post("/v1/sandbox", json!({"template_name": "t"})).await.expect(201);
    assert_eq!(data(lab.get(&path("t")).await.expect(200))["status"]["activeCount"], 1);
    refused(&create(&lab, "T", spec("1Gi")).await, 409, "conflict");
    assert_eq!(data(lab.delete(&path("t")).await.expect(200)), json!({"message": "template deleted"}));
    lab.post("/v1/sandbox", json!({"template_name": "t"})).await.expect(404);
    for method in ["GET", "PUT", "DELETE"] {
        let body = json!({ "spec": spec("1Gi") }).to_string();
        refused(&lab.with_key(&lab.key, method, &path("t"), body).await, 404, "not_found");
    }
    create(&lab, "t", spec("1Gi")).await.expect(201);
}

#[tokio::test]
async fn the_builtin_is_there_until_something_takes_its_name() {
    let lab = Lab::start().await;
    let builtin = data(lab.get(&path("Default")).await.expect(200));
    assert_eq!((&builtin["template_id"], &builtin["scope"]), (&json!("default"), &json!("public")));
    assert_eq!(builtin["spec"]["mainContainer"]["image"], TEMPLATE);
    assert_eq!(builtin["spec"]["mainContainer"]["resources"]["memory"], "2Gi");
    assert_eq!(builtin["spec"]["pool"], json!({"minIdle": 1, "maxIdle": 5}));
    assert_eq!(builtin["status"]["conditions"][0]["reason"], "InsufficientIdlePods");
    assert!(builtin.get("team_id").is_none());
    refused(&put(&lab, "default", spec("1Gi")).await, 404, "not_found");
    refused(&lab.delete(&path("default")).await, 404, "not_found");
    create(&lab, "default", spec("1Gi")).await.expect(201);
    let own = data(lab.get(&path("default")).await.expect(200));
    assert_eq!((&own["scope"], &own["spec"]), (&json!("team"), &spec("1Gi")));
    let list = data(lab.get(ALL).await.expect(200));
    let pair = |scope: &str, id: &str| (scope.to_owned(), id.to_owned());
    assert_eq!(ids(&list), [pair("public", "default"), pair("team", "default")]);
    assert_eq!(list["count"], 2);
    lab.delete(&path("default")).await.expect(200);
    assert_eq!(data(lab.get(&path("default")).await.expect(200))["scope"], "public");
}

#[tokio::test]
async fn public_templates_are_seen_by_all_shadowed_by_ones_own_and_nobodys_to_change() {
    let lab = Lab::start().await;
    let order =
        |name: &str, visibility: &str| json!({"name": name, "uri": "r.test/p", "visibility": visibility});
    for name in ["default", "shared", "Big", "with/slash"] {
        lab.post("/v1/template", order(name, "public")).await.expect(201);
    }
    create(&lab, "secret", spec("1Gi")).await.expect(201);
    let other = async |method: &str, path: &str, body: Value| {
        lab.with_key(&lab.other_key, method, path, body.to_string()).await
    };
    let list = data(other("GET", ALL, json!(null)).await.expect(200));
    let of_all = ["Big", "default", "shared"].map(|id| ("public".to_owned(), id.to_owned()));
    assert_eq!(ids(&list), of_all);
    assert!(list["templates"][0].get("team_id").is_none());
    assert_eq!(data(other("GET", &path("Big"), json!(null)).await.expect(200))["template_id"], "Big");
    for id in ["secret", "with%2Fslash", "system%2Fdebian:bookworm"] {
        refused(&other("GET", &path(id), json!(null)).await, 404, "not_found");
    }
    for (id, method) in [("shared", "PUT"), ("shared", "DELETE"), ("secret", "PUT"), ("secret", "DELETE")] {
        refused(&other(method, &path(id), json!({ "spec": spec("1Gi") })).await, 404, "not_found");
    }
    refused(&put(&lab, "shared", spec("1Gi")).await, 404, "not_found");
    let own = json!({"template_id": "shared", "spec": spec("1Gi")});
    other("POST", ALL, own).await.expect(201);
    let shown = data(other("GET", &path("shared"), json!(null)).await.expect(200));
    assert_eq!((&shown["scope"], &shown["spec"]), (&json!("team"), &spec("1Gi")));
    other("DELETE", &path("shared"), json!(null)).await.expect(200);
    assert_eq!(data(other("GET", &path("shared"), json!(null)).await.expect(200))["scope"], "public");
}

#[tokio::test]
async fn what_is_wrong_is_refused_in_the_envelope() {
    let lab = Lab::start().await;
    let wrong = create(&lab, "a/b", json!({"mainContainer": {"image": ""}, "public": true})).await;
    refused(&wrong, 400, "bad_request");
    let errors = wrong.json()["error"]["details"]["errors"].as_array().unwrap().clone();
    let fields: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
    let container = ["spec.mainContainer.image", "spec.mainContainer.resources.memory", "spec.public"];
    assert_eq!(fields, [&["template_id"], &container[..]].concat());
    refused(&create(&lab, "x", spec("9Gi")).await, 403, "forbidden");
    let mut operators = spec("1Gi");
    operators["clusterId"] = json!("c");
    assert!(refused(&create(&lab, "x", operators).await, 403, "forbidden").contains("clusterId"));
    refused(&lab.with_key(&lab.key, "POST", ALL, "{").await, 400, "bad_request");
    refused(&lab.get("/api/v1/sandboxes").await, 404, "not_found");
    refused(&lab.with_key(&lab.key, "PATCH", &path("x"), "{}").await, 405, "bad_request");
    let body = json!({"template_id": "x", "sandbox_id": "y"});
    let later = lab.post(&path("from-sandbox"), body).await;
    assert!(refused(&later, 503, "unavailable").contains("snapshots"));
    create(&lab, "from-sandbox", spec("1Gi")).await.expect(201);
    assert_eq!(data(lab.get(&path("from-sandbox")).await.expect(200))["template_id"], "from-sandbox");
    assert!(later.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_told_at_once_or_by_the_status() {
    let lab = Lab::start().await;
    let no =
        PullEvent::Failed(PullFailure { code: PullFailureCode::NotFound, message: "no such tag".into() });
    lab.node.pull([no.clone()]);
    assert!(refused(&create(&lab, "t", spec("1Gi")).await, 400, "bad_request").contains("no such tag"));
    lab.node.pull([PullEvent::Resolved(resolved("r.test/it:v1")), no]);
    create(&lab, "t", spec("1Gi")).await.expect(201);
    let ready = async || data(lab.get(&path("t")).await.expect(200))["status"]["conditions"][0].clone();
    eventually!(ready().await["reason"] == "ImagePullFailed");
    let condition = ready().await;
    assert_eq!((&condition["type"], &condition["status"]), (&json!("Ready"), &json!("False")));
    assert!(condition["message"].as_str().unwrap().contains("no such tag"));
    lab.node.pull([]);
    let again = data(put(&lab, "t", spec("1Gi")).await.expect(200));
    assert_eq!(again["spec"], spec("1Gi"));
    eventually!(ready().await["status"] == "True");
}

#[tokio::test]
async fn long_ids_live_beside_our_own_and_too_many_are_a_quota() {
    let lab = Lab::start().await;
    let long = "x".repeat(255);
    create(&lab, &long, spec("1Gi")).await.expect(201);
    assert_eq!(ours(&lab, &long).await["name"], json!(long));
    refused(&create(&lab, &"x".repeat(256), spec("1Gi")).await, 400, "bad_request");
    let me = lab.get("/v1/me").await.expect(200).json();
    let team = me["team"]["id"].as_str().unwrap();
    lab.patch(&format!("/v1/team/{team}"), json!({"limits": {"templates": 1}})).await;
    refused(&create(&lab, "more", spec("1Gi")).await, 429, "quota_exceeded");
}
