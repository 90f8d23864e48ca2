//! The images of templates: on their way, here, lost, changed, and taken away when nobody needs them.

use std::time::Duration;

use control::Limits;
use serde_json::{Value, json};
use wire::node::{PullEvent, PullFailure, PullFailureCode};

use crate::eventually;
use crate::support::{Lab, image_of, resolved};

fn failed(code: PullFailureCode) -> PullEvent {
    PullEvent::Failed(PullFailure { code, message: "the registry says no".into() })
}

fn order(name: &str) -> Value {
    json!({"name": name, "uri": "r.test/it:v1"})
}

async fn shown(lab: &Lab, id: &str) -> Value {
    lab.get(&format!("/v1/template/{id}")).await.expect(200).json()
}

async fn id_of_new(lab: &Lab, body: Value) -> String {
    lab.post("/v1/template", body).await.expect(201).json()["id"].as_str().unwrap().to_owned()
}

async fn sandbox(lab: &Lab, template: &str) -> crate::support::Answer {
    lab.post("/v1/sandbox", json!({"template_name": template})).await
}

#[tokio::test]
async fn a_create_waits_for_its_image_and_sees_how_far_it_is() {
    let lab = Lab::start().await;
    lab.node.set_pull_gate(false);
    let id = id_of_new(&lab, order("t")).await;
    let waiting = sandbox(&lab, "t");
    let opening = async {
        eventually!(shown(&lab, &id).await["state"] == "pulling");
        assert_eq!(lab.node.puts(), 0);
        lab.node.set_pull_gate(true);
    };
    let (made, ()) = tokio::join!(waiting, opening);
    assert_eq!(made.expect(201).json()["template_id"], json!(id));
    assert_eq!(lab.node.sources(), ["r.test/it:v1"], "one pull serves all");
}

#[tokio::test]
async fn progress_is_shown_while_it_lasts() {
    let lab = Lab::start().await;
    let script = resolved("r.test/it:v1");
    let progress =
        wire::node::PullProgress { phase: wire::node::PullPhase::Packing, bytes_done: 7, bytes_total: 7 };
    // It says no more, and does not end: the connection stays until the gate is opened.
    lab.node.pull([
        PullEvent::Resolved(script),
        PullEvent::Progress(progress),
        failed(PullFailureCode::NotFound),
    ]);
    lab.node.set_pull_gate(false);
    let id = id_of_new(&lab, order("t")).await;
    assert!(shown(&lab, &id).await.get("progress").is_none());
    lab.node.set_pull_gate(true);
    eventually!(shown(&lab, &id).await["state"] == "failed");
    let failed = shown(&lab, &id).await;
    assert_eq!(failed["failure"], json!({"code": "not_found", "message": "the registry says no"}));
    assert!(failed.get("progress").is_none());
}

#[tokio::test]
async fn a_wait_for_an_image_is_bounded() {
    let lab = Lab::with(Limits { pull_wait: Duration::from_millis(50), ..Lab::limits() }).await;
    lab.node.set_pull_gate(false);
    id_of_new(&lab, order("t")).await;
    let answer = sandbox(&lab, "t").await.expect(503);
    assert_eq!(answer.code(), "template_pulling");
    assert!(answer.headers.contains_key("retry-after") && answer.message().contains("\"t\""));
    lab.node.set_pull_gate(true);
    eventually!(sandbox(&lab, "t").await.status == 201);
}

#[tokio::test]
async fn a_source_that_is_no_image_makes_no_template_and_says_why() {
    let lab = Lab::start().await;
    for (code, status, word, field) in [
        (PullFailureCode::Refused, 400, "invalid_image", Some("uri")),
        (PullFailureCode::NotFound, 400, "invalid_image", Some("uri")),
        (PullFailureCode::InvalidImage, 400, "invalid_image", Some("uri")),
        (PullFailureCode::Unauthorized, 400, "registry_unauthorized", Some("credentials")),
        (PullFailureCode::Unreachable, 502, "registry_unreachable", None),
        (PullFailureCode::DiskFull, 503, "node_disk_full", None),
        (PullFailureCode::Internal, 500, "pull_failed", None),
    ] {
        lab.node.pull([failed(code)]);
        let answer = lab.post("/v1/template", order("t")).await.expect(status);
        assert_eq!(answer.code(), word);
        assert_eq!(answer.message(), "the registry says no");
        assert_eq!(answer.json()["errors"][0]["field"].as_str(), field, "{code:?}");
    }
    assert_eq!(lab.get("/v1/templates").await.json()["total_items"], 1);
}

#[tokio::test]
async fn a_source_that_says_nothing_is_not_waited_for_for_ever() {
    let lab = Lab::with(Limits { resolve_wait: Duration::from_millis(50), ..Lab::limits() }).await;
    let progress =
        wire::node::PullProgress { phase: wire::node::PullPhase::Fetching, bytes_done: 0, bytes_total: 0 };
    lab.node.pull([PullEvent::Progress(progress), PullEvent::Resolved(resolved("r.test/it:v1"))]);
    lab.node.set_pull_gate(false);
    assert_eq!(lab.post("/v1/template", order("t")).await.expect(504).code(), "timeout");
}

#[tokio::test]
async fn a_pull_that_fails_is_told_to_whoever_asks_for_a_sandbox_and_tried_again_where_that_may_help() {
    let lab = Lab::start().await;
    let fails = |code| [PullEvent::Resolved(resolved("r.test/it:v1")), failed(code)];
    lab.node.pull(fails(PullFailureCode::InvalidImage));
    let bad = id_of_new(&lab, order("bad")).await;
    eventually!(shown(&lab, &bad).await["state"] == "failed");
    let answer = sandbox(&lab, "bad").await.expect(409);
    assert_eq!(answer.code(), "template_failed");
    assert!(answer.message().contains("the registry says no"), "{}", answer.message());
    assert_eq!(lab.node.sources().len(), 1);

    lab.node.pull(fails(PullFailureCode::Unreachable));
    let weak = id_of_new(&lab, order("weak")).await;
    eventually!(shown(&lab, &weak).await["state"] == "failed");
    let answer = sandbox(&lab, "weak").await.expect(503);
    assert_eq!(answer.code(), "template_failed");
    let asked = lab.node.sources();
    assert_eq!(asked.len(), 3, "tried once more, and not for ever: {asked:?}");
    assert!(asked[2].contains('@'), "pinned to what was resolved: {asked:?}");
    lab.node.pull([]);
    sandbox(&lab, "weak").await.expect(201);
    assert_eq!(shown(&lab, &weak).await["state"], "ready");
}

#[tokio::test]
async fn a_lazy_image_comes_with_the_first_sandbox() {
    let lab = Lab::start().await;
    let body = json!({"name": "t", "uri": "r.test/it:v1", "pull": "lazy"});
    let id = id_of_new(&lab, body).await;
    assert_eq!(shown(&lab, &id).await["state"], "resolved");
    assert!(lab.node.inner.pulls.lock().unwrap()[0].resolve_only);
    sandbox(&lab, "t").await.expect(201);
    assert_eq!(shown(&lab, &id).await["state"], "ready");
    let pulls = lab.node.inner.pulls.lock().unwrap().clone();
    assert!(pulls.len() == 2 && !pulls[1].resolve_only, "{pulls:?}");
}

#[tokio::test]
async fn after_a_restart_of_either_side_a_pull_is_asked_for_again_by_content() {
    let mut lab = Lab::start().await;
    lab.node.set_pull_gate(false);
    let id = id_of_new(&lab, order("t")).await;
    lab.crash_and_restart().await;
    let pinned = format!("r.test/it:v1@{}", resolved("r.test/it:v1").digest);
    eventually!(lab.node.sources() == ["r.test/it:v1".to_owned(), pinned.clone()]);
    assert_eq!(shown(&lab, &id).await["state"], "pulling");
    // The node ends with all its connections, and comes back.
    lab.node.stop();
    lab.node.inner.pull_gate.send_replace(true);
    lab.node.start();
    eventually!(shown(&lab, &id).await["state"] == "ready");
    sandbox(&lab, "t").await.expect(201);
}

#[tokio::test]
async fn a_pull_whose_outcome_is_lost_is_asked_for_again() {
    let lab = Lab::start().await;
    lab.node.pull([PullEvent::Resolved(resolved("r.test/it:v1"))]);
    let id = id_of_new(&lab, order("t")).await;
    eventually!(lab.node.sources().len() > 2);
    assert_eq!(shown(&lab, &id).await["state"], "pulling", "nothing is known of it");
    lab.node.pull([]);
    eventually!(shown(&lab, &id).await["state"] == "ready");
}

#[tokio::test]
async fn a_local_source_that_has_changed_is_not_taken_for_what_it_was() {
    let lab = Lab::start().await;
    lab.node.pull([PullEvent::Resolved(resolved("oci:/images/it"))]);
    let id = id_of_new(&lab, json!({"name": "t", "uri": "oci:/images/it"})).await;
    lab.node.pull([PullEvent::Resolved(resolved("something else"))]);
    eventually!(shown(&lab, &id).await["state"] == "failed");
    let failure = shown(&lab, &id).await["failure"].clone();
    assert_eq!(failure["code"], "invalid_image");
    assert!(failure["message"].as_str().unwrap().contains("oci:/images/it"), "{failure}");
}

#[tokio::test]
async fn a_template_that_is_deleted_while_its_image_comes_is_gone_and_so_is_the_wait() {
    let lab = Lab::start().await;
    lab.node.set_pull_gate(false);
    let id = id_of_new(&lab, order("t")).await;
    let waiting = sandbox(&lab, "t");
    let deleting = async {
        eventually!(shown(&lab, &id).await["state"] == "pulling");
        lab.delete(&format!("/v1/template/{id}")).await.expect(204);
    };
    let (answer, ()) = tokio::join!(waiting, deleting);
    answer.expect(404);
    lab.node.set_pull_gate(true);
    // What comes now is nobody's, and a new template of the name has its own.
    let again = id_of_new(&lab, order("t")).await;
    eventually!(shown(&lab, &again).await["state"] == "ready");
    lab.get(&format!("/v1/template/{id}")).await.expect(404);
}

#[tokio::test]
async fn the_old_image_serves_until_the_new_one_is_here() {
    let lab = Lab::start().await;
    let id = lab.template("t").await;
    let path = format!("/v1/template/{id}");
    let image = async || {
        let made = sandbox(&lab, "t").await.expect(201).id();
        lab.node.inner.specs.lock().unwrap()[&made].image.clone()
    };
    let (old, new) = (resolved("r.test/it:v1").digest, resolved("r.test/it:v2").digest);
    lab.node.pull([failed(PullFailureCode::NotFound)]);
    lab.patch(&path, json!({"uri": "r.test/it:typo"})).await.expect(400);
    assert_eq!(shown(&lab, &id).await["version"], 1, "nothing has changed");

    lab.node.pull([]);
    lab.node.set_pull_gate(false);
    lab.patch(&path, json!({"uri": "r.test/it:v2", "vcpu": 2})).await.expect(204);
    let between = shown(&lab, &id).await;
    assert_eq!(
        (&between["state"], &between["digest"], &between["version"]),
        (&json!("pulling"), &json!(new), &json!(2))
    );
    assert_eq!(between["serving"], json!({"uri": "r.test/it:v1", "digest": old}));
    assert_eq!(image().await, image_of(&old));
    lab.node.set_pull_gate(true);
    eventually!(shown(&lab, &id).await["state"] == "ready");
    assert!(shown(&lab, &id).await.get("serving").is_none());
    assert_eq!(image().await, image_of(&new));

    // The same again is looked at, and need not come again.
    lab.node.set_pull_gate(false);
    lab.patch(&path, json!({"uri": "r.test/it:v2"})).await.expect(204);
    let same = shown(&lab, &id).await;
    assert_eq!((&same["state"], &same["version"]), (&json!("ready"), &json!(2)));
}

#[tokio::test]
async fn of_two_images_that_were_wanted_the_later_one_counts() {
    let lab = Lab::start().await;
    lab.node.set_pull_gate(false);
    let id = id_of_new(&lab, order("t")).await;
    lab.patch(&format!("/v1/template/{id}"), json!({"uri": "r.test/it:v2"})).await.expect(204);
    lab.node.set_pull_gate(true);
    eventually!(shown(&lab, &id).await["state"] == "ready");
    let made = sandbox(&lab, "t").await.expect(201).id();
    let image = lab.node.inner.specs.lock().unwrap()[&made].image.clone();
    assert_eq!(image, image_of(&resolved("r.test/it:v2").digest));
}

#[tokio::test]
async fn an_image_that_no_node_has_any_more_is_fetched_again() {
    let lab = Lab::start().await;
    let id = lab.template("t").await;
    lab.node.inner.pulled.lock().unwrap().clear();
    eventually!(
        lab.get("/v1/nodes").await.json()["items"][0]["report"]["images"].as_array().unwrap().len() == 1
    );
    sandbox(&lab, "t").await.expect(201);
    assert_eq!(lab.node.sources().len(), 2);
    assert_eq!(shown(&lab, &id).await["state"], "ready");
}

#[tokio::test]
async fn what_a_template_or_a_sandbox_needs_stays_and_the_rest_goes() {
    let lab = Lab::start().await;
    let id = lab.template("t").await;
    let made = sandbox(&lab, "t").await.expect(201).id();
    let image = json!(image_of(&resolved("r.test/it:v1").digest));
    let prune = async |body: Value| lab.post("/v1/templates/prune", body).await.expect(200).json();
    let nothing = json!({"items": [], "bytes": 0});
    assert_eq!(prune(json!({})).await, nothing, "a template needs it");
    lab.delete(&format!("/v1/template/{id}")).await.expect(204);
    assert_eq!(prune(json!({"idle_seconds": 0})).await, nothing, "a sandbox needs it");
    lab.delete(&format!("/v1/sandbox/{made}")).await.expect(204);
    for dry_run in [true, true, false] {
        let went = prune(json!({"dry_run": dry_run, "idle_seconds": 0})).await;
        assert_eq!((&went["items"][0]["name"], &went["bytes"]), (&image, &json!(10)), "{dry_run}");
    }
    assert_eq!(prune(json!({})).await, nothing);
    let orders = lab.node.inner.prunes.lock().unwrap().clone();
    assert_eq!((orders[0].idle_seconds_min, orders[1].idle_seconds_min), (3600, 0));
    assert!(orders.iter().all(|order| order.keep.contains(&lab.node.inner.image)), "ours stay");
    let wrong = lab.post("/v1/templates/prune", json!({"dry_run": 1, "idle_seconds": -1})).await.expect(400);
    assert_eq!(wrong.wrong_fields(), ["dry_run", "idle_seconds"]);
}

#[tokio::test]
async fn images_go_by_themselves_now_and_then() {
    let interval = Some(Duration::from_millis(50));
    let lab =
        Lab::with(Limits { prune_interval: interval, prune_idle: Duration::ZERO, ..Lab::limits() }).await;
    let id = lab.template("t").await;
    lab.delete(&format!("/v1/template/{id}")).await.expect(204);
    eventually!(lab.node.inner.pulled.lock().unwrap().is_empty());
}
