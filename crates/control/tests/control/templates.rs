//! Templates of teams: made, shown, changed, deleted, and what their sandboxes get.

use control::keys::Scope;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::eventually;
use crate::support::{Lab, TEMPLATE, image_of, resolved};

/// The path of a template.
fn at(id: &str) -> String {
    format!("/v1/template/{id}")
}

/// An operator's key of another team.
async fn operator(lab: &Lab) -> String {
    let team = lab.post("/v1/team", json!({"name": "operators"})).await.expect(201).json();
    lab.new_key(json!({"name": "o", "scopes": ["team", "operator"], "team": team["id"]})).await.1
}

async fn make(lab: &Lab, key: &str, body: Value) -> crate::support::Answer {
    lab.with_key(key, "POST", "/v1/template", body.to_string()).await
}

#[tokio::test]
async fn a_template_from_create_to_delete() {
    let lab = Lab::start().await;
    lab.node.set_pull_gate(false);
    let body = json!({"name": "mine", "uri": "r.test/it:v1", "vcpu": 2, "unknown": 1});
    let made = lab.post("/v1/template", body).await.expect(201).json();
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("tpl-"));
    assert_eq!(
        (&made["name"], &made["is_system"], &made["version"]),
        (&json!("mine"), &json!(false), &json!(1))
    );
    assert_eq!(made["digest"], json!(resolved("r.test/it:v1").digest));
    assert_eq!(
        (&made["uri"], &made["visibility"], &made["vcpu"]),
        (&json!("r.test/it:v1"), &json!("team"), &json!(2))
    );
    assert_eq!(made["image_config"]["working_dir"], "/workspace");
    assert_eq!((&made["created_at"], &made["state"]), (&json!("2023-11-14T22:13:20Z"), &json!("pulling")));
    for absent in ["failure", "credentials", "memory", "serving", "unknown"] {
        assert!(made.get(absent).is_none(), "{absent}");
    }
    lab.node.set_pull_gate(true);
    eventually!(lab.get(&at(id)).await.json()["state"] == "ready");

    lab.patch(&at(id), json!({"name": "renamed"})).await.expect(204);
    let list = lab.get("/v1/templates").await.expect(200).json();
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| &item["name"]).collect();
    assert_eq!(json!(names), json!(["renamed", TEMPLATE]));
    lab.post("/v1/sandbox", json!({"template_name": "mine"})).await.expect(404);
    let sandbox = lab.post("/v1/sandbox", json!({"template_name": "renamed"})).await.expect(201);
    assert_eq!((&sandbox.json()["template_id"], &sandbox.json()["vcpu"]), (&json!(id), &json!(2)));

    lab.delete(&at(id)).await.expect(204);
    lab.get(&at(id)).await.expect(404);
    lab.delete(&at(id)).await.expect(404);
    lab.patch(&at(id), json!({"name": "x"})).await.expect(404);
    assert_eq!(lab.state(&sandbox.id()).await, "running");
    lab.post("/v1/sandbox", json!({"template_name": "renamed"})).await.expect(404);
    let found = lab.get(&format!("/v1/sandboxes?template={id}")).await.expect(200).json();
    assert_eq!(found["total_items"], 1, "a sandbox is found by what it was made from");
    lab.template("renamed").await;
}

#[tokio::test]
async fn a_sandbox_gets_what_the_template_says_unless_its_maker_does() {
    let lab = Lab::start().await;
    let body = json!({"name": "t", "uri": "r.test/it:v1", "vcpu": 3, "memory": 2048, "disk": 4096,
        "env_vars": {"FROM": "template", "A": "1"}, "start_cmd": "serve", "ready_check": {"port": 8080},
        "network_policy": {"mode": "allow-all"}, "pool": {"min_idle": 0, "max_idle": 2}});
    let made = lab.post("/v1/template", body.clone()).await.expect(201).json();
    for field in ["vcpu", "memory", "disk", "env_vars", "start_cmd", "network_policy", "pool"] {
        assert_eq!(made[field], body[field], "{field}");
    }
    assert_eq!(made["ready_check"], json!({"port": 8080, "timeout_seconds": 60}));
    let plain = lab.post("/v1/sandbox", json!({"template_name": "t"})).await.expect(201);
    let shown = plain.json();
    assert_eq!((&shown["vcpu"], &shown["memory"], &shown["disk"]), (&json!(3), &json!(2048), &json!(4096)));
    assert_eq!(shown["network_policy"], json!({"mode": "allow-all"}));
    let spec = lab.node.inner.specs.lock().unwrap()[&plain.id()].clone();
    assert_eq!((spec.env["FROM"].as_str(), spec.env["PATH"].as_str()), ("template", "/bin"));
    assert_eq!(spec.image, image_of(&resolved("r.test/it:v1").digest));
    let boot = spec.boot.unwrap();
    assert_eq!(boot.argv, ["/bin/sh", "-c", "serve"]);
    assert!(boot.ready.is_some());
    let own = json!({"template_name": "t", "vcpu": 1, "env_vars": {"FROM": "maker"}});
    let own = lab.post("/v1/sandbox", own).await.expect(201);
    let spec = lab.node.inner.specs.lock().unwrap()[&own.id()].clone();
    assert_eq!((spec.resources.vcpu, spec.resources.memory_mib), (1, 2048));
    assert_eq!((spec.env["FROM"].as_str(), spec.env["A"].as_str()), ("maker", "1"));
}

#[tokio::test]
async fn a_change_is_a_new_version_for_new_sandboxes_alone() {
    let lab = Lab::start().await;
    let id = lab.template("t").await;
    let old = lab.post("/v1/sandbox", json!({"template_name": "t"})).await.expect(201);
    lab.patch(&at(&id), json!({"memory": 4096, "env_vars": {"A": "1"}})).await.expect(204);
    lab.patch(&at(&id), json!({"name": "t"})).await.expect(204);
    let shown = lab.get(&at(&id)).await.expect(200).json();
    assert_eq!((&shown["version"], &shown["memory"]), (&json!(2), &json!(4096)));
    assert_eq!(lab.get(&format!("/v1/sandbox/{}", old.id())).await.json()["memory"], 1024);
    let new = lab.post("/v1/sandbox", json!({"template_name": "t"})).await.expect(201);
    assert_eq!(new.json()["memory"], 4096);
    lab.patch(&at(&id), json!({"memory": null})).await.expect(204);
    let shown = lab.get(&at(&id)).await.expect(200).json();
    assert!(shown.get("memory").is_none() && shown["env_vars"] == json!({"A": "1"}), "{shown}");
    let wrong = lab.patch(&at(&id), json!({"memory": 1, "name": "a b"})).await.expect(400);
    assert_eq!(wrong.wrong_fields(), ["memory", "name"]);
    let idle = lab.patch(&at(&id), json!({"ready_check": {"port": 1}})).await.expect(400);
    assert_eq!(idle.wrong_fields(), ["ready_check"], "nothing is started that could be ready");
}

#[tokio::test]
async fn one_name_is_one_template_of_a_team() {
    let lab = Lab::start().await;
    let body = json!({"name": "t", "uri": "r.test/it:v1"});
    let creates = join_all((0..8).map(|_| lab.post("/v1/template", body.clone()))).await;
    let mut statuses: Vec<_> = creates.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(lab.post("/v1/template", body.clone()).await.expect(409).code(), "already_exists");
    make(&lab, &lab.other_key, body).await.expect(201);
    let other = lab.template("other").await;
    assert_eq!(lab.patch(&at(&other), json!({"name": "t"})).await.expect(409).code(), "already_exists");
}

#[tokio::test]
async fn of_renames_to_one_name_one_wins_and_a_delete_in_between_is_no_harm() {
    let lab = Lab::start().await;
    let mut ids = Vec::new();
    for index in 0..6 {
        ids.push(lab.template(&format!("t{index}")).await);
    }
    let renames = join_all(ids.iter().map(|id| async {
        let (path, first) = (at(id), at(&ids[0]));
        tokio::join!(lab.patch(&path, json!({"name": "one"})), lab.delete(&first))
    }))
    .await;
    let won = renames.iter().filter(|(rename, _)| rename.status == 204).count();
    assert!(won >= 1, "somebody gets the name");
    for (rename, _) in &renames {
        assert!([204, 404, 409].contains(&rename.status.as_u16()), "{}", rename.text());
    }
    let list = lab.get("/v1/templates").await.json();
    let named = list["items"].as_array().unwrap().iter().filter(|item| item["name"] == "one").count();
    assert!(named <= 1);
    lab.get(&at(&ids[0])).await.expect(404);
}

#[tokio::test]
async fn a_team_has_so_many_templates() {
    let lab = Lab::start().await;
    let mine = lab.get("/v1/me").await.json()["team"]["id"].as_str().unwrap().to_owned();
    lab.patch(&format!("/v1/team/{mine}"), json!({"limits": {"templates": 2}})).await.expect(200);
    lab.template("a").await;
    let id = lab.template("b").await;
    let full = lab.post("/v1/template", json!({"name": "c", "uri": "r.test/it:v1"})).await.expect(409);
    assert_eq!(full.code(), "team_limit");
    assert!(full.message().contains("2 of at most 2 templates"), "{}", full.message());
    assert_eq!(lab.get("/v1/me").await.json()["team"]["use"]["templates"], 2);
    lab.delete(&at(&id)).await.expect(204);
    lab.template("c").await;
}

#[tokio::test]
async fn ours_are_not_the_apis_to_touch() {
    let lab = Lab::start().await;
    let ours = lab.get("/v1/templates").await.json()["items"][0].clone();
    assert_eq!(
        (&ours["is_system"], &ours["visibility"], &ours["state"]),
        (&json!(true), &json!("public"), &json!("ready"))
    );
    let path = at(ours["id"].as_str().unwrap());
    assert_eq!(lab.patch(&path, json!({"name": "x"})).await.expect(409).code(), "system_template");
    assert_eq!(lab.delete(&path).await.expect(409).code(), "system_template");
    let body = json!({"name": "system/mine", "uri": "r.test/it:v1"});
    assert_eq!(lab.post("/v1/template", body).await.expect(400).wrong_fields(), ["name"]);
    assert!(lab.node.sources().is_empty(), "nothing was fetched for it");
}

#[tokio::test]
async fn a_public_template_is_an_operators_and_everybodys_and_may_be_shadowed() {
    let lab = Lab::start().await;
    let public = |name: &str| json!({"name": name, "uri": "r.test/it:v1", "visibility": "public"});
    assert_eq!(make(&lab, &lab.other_key, public("p")).await.expect(403).code(), "operator_only");
    let made = lab.post("/v1/template", public("p")).await.expect(201).json();
    let path = at(made["id"].as_str().unwrap());
    assert_eq!(
        lab.with_key(&lab.other_key, "GET", &path, "").await.expect(200).json()["visibility"],
        "public"
    );
    for method in ["PATCH", "DELETE"] {
        lab.with_key(&lab.other_key, method, &path, "{}").await.expect(404);
    }
    let from_it = json!({"template_name": "p"}).to_string();
    let theirs =
        lab.with_key(&lab.other_key, "POST", "/v1/sandbox", from_it.clone()).await.expect(201).json();
    assert_eq!(theirs["template_id"], made["id"]);

    // A team that has one of the name means its own.
    let own =
        make(&lab, &lab.other_key, json!({"name": "p", "uri": "r.test/own:v1"})).await.expect(201).json();
    let theirs = lab.with_key(&lab.other_key, "POST", "/v1/sandbox", from_it).await.expect(201).json();
    assert_eq!(theirs["template_id"], own["id"]);
    let operator = operator(&lab).await;
    assert_eq!(make(&lab, &operator, public("p")).await.expect(409).code(), "already_exists");

    // A key of its team that is no operator's may use it and no more.
    let (_, plain) = lab.new_key(json!({"name": "plain"})).await;
    lab.with_key(&plain, "GET", &path, "").await.expect(200);
    assert_eq!(lab.with_key(&plain, "DELETE", &path, "").await.expect(403).code(), "operator_only");
    lab.patch(&path, json!({"visibility": "team"})).await.expect(204);
    lab.with_key(&lab.other_key, "GET", &path, "").await.expect(404);
    lab.with_key(&plain, "PATCH", &path, r#"{"vcpu": 2}"#).await.expect(204);
    let raised = lab.with_key(&plain, "PATCH", &path, r#"{"visibility": "public"}"#).await;
    assert_eq!(raised.expect(403).code(), "operator_only");
}

#[tokio::test]
async fn a_team_takes_its_templates_with_it() {
    let lab = Lab::start().await;
    let team = lab.post("/v1/team", json!({"name": "short"})).await.expect(201).json();
    let id = team["id"].as_str().unwrap();
    let key = lab.new_key(json!({"name": "k", "scopes": [Scope::Team.as_str()], "team": id})).await.1;
    make(&lab, &key, json!({"name": "t", "uri": "r.test/it:v1"})).await.expect(201);
    lab.delete(&format!("/v1/team/{id}")).await.expect(204);
    lab.template("t").await;
}
