//! Snapshots, and sandboxes that go on from them.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use testkit::http::Answer;
use testkit::lab::{Builder, Lab, eventually};
use testkit::machines::Kind;

use super::pause::{COUNT, assert_nothing_plain, counted, pause};
use super::{execute, many, run, sandbox, shown, write};
use crate::id_of;

async fn ask_for_snapshot(lab: &Lab, id: &str, body: Value) -> Answer {
    lab.api.post(&format!("/v1/sandbox/{id}/snapshot/create"), body).await
}

async fn snapshot(lab: &Lab, id: &str, name: &str) -> Value {
    ask_for_snapshot(lab, id, json!({ "name": name })).await.expect(201).json()
}

async fn restore(lab: &Lab, name: &str) -> String {
    id_of(&lab.api.post("/v1/snapshot/restore", json!({ "snapshot_name": name })).await.expect(201).json())
}

async fn fork(lab: &Lab, id: &str, count: u32) -> Answer {
    lab.api.post(&format!("/v1/sandbox/{id}/fork"), json!({ "count": count })).await
}

async fn forks(lab: &Lab, id: &str, count: u32) -> Vec<String> {
    let made = fork(lab, id, count).await.expect(201).json();
    made["items"].as_array().unwrap().iter().map(id_of).collect()
}

async fn names(lab: &Lab, query: &str) -> Vec<String> {
    let list = lab.api.get(&format!("/v1/snapshots?{query}")).await.expect(200).json();
    let name = |item: &Value| item["name"].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(name).collect()
}

async fn said(lab: &Lab, id: &str, command: &str) -> String {
    run(lab, id, command).await["stdout"].as_str().unwrap().to_owned()
}

/// Whether processes and memory are copied, too.
fn has_memory(lab: &Lab) -> bool {
    lab.kind != Kind::Fake
}

pub async fn a_sandbox_goes_on_beside_those_that_went_on_from_its_snapshot(lab: Builder) {
    let lab = lab.start().await;
    let asked = json!({ "env_vars": { "GREETING": "hello" }, "timeout": 1000 });
    let source = id_of(&lab.api.post("/v1/sandbox", asked).await.expect(201).json());
    write(&lab, &source, "file", "before").await.expect(204);
    run(&lab, &source, COUNT).await;
    let before = counted(&lab, &source, 10).await;
    let taken = snapshot(&lab, &source, "first").await;
    assert_eq!((&taken["name"], &taken["sandbox_id"]), (&json!("first"), &json!(source)), "{taken}");
    assert!(taken["size_bytes"].as_u64().unwrap() > 0 && taken["vcpu"] == 1, "{taken}");
    write(&lab, &source, "file", "after").await.expect(204);
    counted(&lab, &source, before + 10).await;
    let copy = restore(&lab, "first").await;
    assert_ne!(copy, source);
    let made = shown(&lab, &copy).await;
    assert_eq!((&made["state"], &made["timeout"]), (&json!("running"), &json!(300)), "{made}");
    assert_eq!(said(&lab, &copy, "cat file; printenv GREETING").await, "beforehello\n");
    if has_memory(&lab) {
        counted(&lab, &copy, before + 10).await;
    }
    // Each has its own from now on, however often they are paused, and whatever becomes of the other.
    write(&lab, &copy, "file", "of the copy").await.expect(204);
    pause(&lab, &copy).await;
    lab.api.delete(&format!("/v1/sandbox/{source}")).await.expect(204);
    assert_eq!(said(&lab, &copy, "cat file").await, "of the copy");
    let again = restore(&lab, "first").await;
    assert_eq!(said(&lab, &again, "cat file").await, "before");
    assert_nothing_plain(&lab).await;
    lab.end().await;
}

pub async fn a_sandbox_may_end_with_its_snapshot(lab: Builder) {
    let lab = lab.start().await;
    let source = sandbox(&lab).await;
    run(&lab, &source, "echo kept > file").await;
    let body = json!({ "name": "last", "kill_sandbox_after": true });
    ask_for_snapshot(&lab, &source, body).await.expect(201);
    eventually("it is gone", async || shown(&lab, &source).await["state"] == "deleted").await;
    assert_eq!(shown(&lab, &source).await["reason"], "deleted");
    assert_eq!(said(&lab, &restore(&lab, "last").await, "cat file").await, "kept\n");
    assert_eq!(names(&lab, "").await, ["last"]);
    lab.end().await;
}

pub async fn snapshots_have_names_that_are_listed_looked_for_and_given_up(lab: Builder) {
    let lab = lab.start().await;
    let source = sandbox(&lab).await;
    let first = snapshot(&lab, &source, "base one").await;
    lab.clock.advance(Duration::from_secs(1));
    snapshot(&lab, &source, "base two").await;
    lab.clock.advance(Duration::from_secs(1));
    let unnamed = ask_for_snapshot(&lab, &source, json!({})).await.expect(201).json();
    assert_eq!(unnamed["name"], unnamed["id"]);
    let taken = ask_for_snapshot(&lab, &source, json!({ "name": "base one" })).await.expect(409).json();
    assert_eq!(taken["code"], "already_exists", "{taken}");
    assert_eq!(names(&lab, "query=BASE&sort=created_at&order-by=asc").await, ["base one", "base two"]);
    assert_eq!(names(&lab, "query=&page=2&page-size=2").await, ["base one"]);
    let id = first["id"].as_str().unwrap();
    assert_eq!(lab.api.get(&format!("/v1/snapshot/{id}")).await.expect(200).json(), first);
    let team = id_of(&lab.api.post("/v1/team", json!({ "name": "other" })).await.expect(201).json());
    let order = json!({ "name": "theirs", "team": team, "scopes": ["team"] });
    let key = lab.api.post("/v1/key", order).await.expect(201).json();
    let other = lab.api.with_key(key["key"].as_str().unwrap());
    other.delete(&format!("/v1/snapshot/{id}")).await.expect(404);
    other.post("/v1/snapshot/restore", json!({ "snapshot_name": "base one" })).await.expect(404);
    lab.api.delete(&format!("/v1/snapshot/{id}")).await.expect(204);
    lab.api.delete(&format!("/v1/snapshot/{id}")).await.expect(404);
    lab.api.post("/v1/snapshot/restore", json!({ "snapshot_name": "base one" })).await.expect(404);
    for body in [json!({}), json!({ "snapshot_name": " " }), json!({ "snapshot_name": "x", "timeout": 0 })] {
        lab.api.post("/v1/snapshot/restore", body).await.expect(400);
    }
    assert_eq!(lab.kept.count(), 2);
    lab.end().await;
}

pub async fn many_go_on_at_once_and_each_is_itself(lab: Builder) {
    let lab = lab.start().await;
    let source = sandbox(&lab).await;
    run(&lab, &source, "echo shared > file").await;
    snapshot(&lab, &source, "base").await;
    let restores = (0..many(10)).map(|_| {
        let api = lab.api.clone();
        tokio::spawn(
            async move { api.post("/v1/snapshot/restore", json!({ "snapshot_name": "base" })).await },
        )
    });
    let mut copies = forks(&lab, &source, 3).await;
    for restored in restores.collect::<Vec<_>>() {
        copies.push(id_of(&restored.await.unwrap().expect(201).json()));
    }
    let mut seen = BTreeSet::new();
    for copy in copies.iter().chain([&source]) {
        assert_eq!(said(&lab, copy, "cat file").await, "shared\n");
        assert!(seen.insert(said(&lab, copy, "head -c 16 /dev/urandom | od -An -tx1").await), "{seen:?}");
    }
    // Of the fork, nothing is kept beside its copies.
    assert_eq!((lab.kept.count(), names(&lab, "").await), (1, vec!["base".to_owned()]));
    assert_nothing_plain(&lab).await;
    lab.end().await;
}

/// A program that draws from a generator of its own, and another that it seeds anew when it has become another sandbox.
const DRAW: &str = r#"
import random, time
kept, renewed, seen = random.Random(1), None, None
while True:
    with open("/run/atoll/generation") as file: now = file.read()
    if now != seen: seen, renewed = now, random.Random(random.SystemRandom().getrandbits(256))
    with open("draws.new", "w") as file: file.write("%d %d %s" % (kept.getrandbits(62), renewed.getrandbits(62), now))
    import os; os.rename("draws.new", "draws")
    time.sleep(0.01)
"#;

pub async fn copies_share_no_name_no_randomness_and_no_moment_unless_they_want_to(lab: Builder) {
    let lab = lab.start().await;
    let source = sandbox(&lab).await;
    let hook = "#!/bin/sh\necho $ATOLL_RESTORE_KIND $ATOLL_SANDBOX_ID >> /tmp/told\n";
    write(&lab, &source, "/tmp/hook", hook).await.expect(204);
    let install = "mkdir -p /etc/atoll/on-restore.d && install -m 755 /tmp/hook /etc/atoll/on-restore.d/10-tell \
                   && echo 0123456789abcdef0123456789abcdef > /etc/machine-id";
    let installed = execute(&lab, &source, json!({ "command": install, "user": "root" })).await;
    assert_eq!(installed.expect(200).json()["exit_code"], 0);
    let draw = json!({ "argv": ["python3", "-c", DRAW], "id": "draw" });
    lab.api.post(&format!("/v1/sandbox/{source}/process/start"), draw).await.expect(201);
    run(&lab, &source, "until test -s draws; do sleep 0.01; done").await;
    let copies = forks(&lab, &source, 3).await;
    let mut facts = vec![BTreeSet::new(); 4];
    for id in copies.iter().chain([&source]) {
        assert_eq!(said(&lab, id, "hostname").await.trim(), id);
        let generation = said(&lab, id, "cat /run/atoll/generation").await;
        let renewed =
            format!("until grep -q '{}' draws; do sleep 0.01; done; cut -d' ' -f2 draws", generation.trim());
        facts[0].insert(said(&lab, id, "cat /etc/machine-id").await);
        facts[1].insert(said(&lab, id, "head -c 16 /dev/urandom | od -An -tx1").await);
        facts[2].insert(said(&lab, id, &renewed).await);
        facts[3].insert(generation);
    }
    assert!(facts.iter().all(|fact| fact.len() == 4), "{facts:?}");
    for id in &copies {
        assert_eq!(said(&lab, id, "cat /tmp/told").await, format!("fork {id}\n"));
    }
    pause(&lab, &copies[0]).await;
    let twice = format!("fork {id}\nwake {id}\n", id = copies[0]);
    assert_eq!(said(&lab, &copies[0], "cat /tmp/told").await, twice);
    lab.end().await;
}

pub async fn a_fork_for_which_there_is_no_room_makes_no_copy(lab: Builder) {
    let lab = lab.capacity(3).start().await;
    let source = sandbox(&lab).await;
    let refused = fork(&lab, &source, 3).await.expect(503);
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    assert_eq!(lab.api.get("/v1/sandboxes").await.expect(200).json()["total_items"], 1);
    assert_eq!(forks(&lab, &source, 2).await.len(), 2);
    for count in [0, 65] {
        fork(&lab, &source, count).await.expect(400);
    }
    lab.end().await;
}

pub async fn one_that_is_paused_is_woken_for_its_snapshot_and_can_be_paused_meanwhile(lab: Builder) {
    let lab = lab.start().await;
    let source = sandbox(&lab).await;
    run(&lab, &source, "echo kept > file").await;
    pause(&lab, &source).await;
    let held = lab.hold("written");
    let taking = {
        let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{source}/snapshot/create"));
        tokio::spawn(async move { api.post(&path, json!({ "name": "woken" })).await })
    };
    held.reached().await;
    assert_eq!(shown(&lab, &source).await["state"], "snapshotting");
    let [pausing, another] = ["pause", "snapshot/create"].map(|what| {
        let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{source}/{what}"));
        tokio::spawn(async move { api.post(&path, json!({})).await })
    });
    held.release();
    taking.await.unwrap().expect(201);
    assert!(
        ["paused", "running"].contains(&pausing.await.unwrap().expect(201).json()["state"].as_str().unwrap())
    );
    let another = another.await.unwrap().expect(201).json();
    for name in ["woken", another["name"].as_str().unwrap()] {
        assert_eq!(said(&lab, &restore(&lab, name).await, "cat file").await, "kept\n");
    }
    assert_eq!(said(&lab, &source, "cat file").await, "kept\n");
    lab.end().await;
}

pub async fn a_snapshot_that_fails_at_any_step_leaves_its_sandbox_running(lab: Builder) {
    let lab = lab.start().await;
    let source = sandbox(&lab).await;
    run(&lab, &source, COUNT).await;
    for step in lab.kind.checkpoint_steps().iter().chain(&["written"]) {
        for ends in [false, true] {
            let before = counted(&lab, &source, 10).await;
            lab.faults.fail_at(step);
            let path = format!("/v1/sandbox/{source}/snapshot/create");
            let body = json!({ "name": "never", "kill_sandbox_after": ends }).to_string();
            let refused = lab.api.attempt(Method::POST, &path, body).await;
            lab.faults.clear();
            // On a busy host it takes so long that its answer has begun, and is cut off.
            assert!(refused.is_none_or(|refused| refused.status.is_server_error()), "{step}");
            counted(&lab, &source, before + 10).await;
        }
    }
    assert_eq!((lab.kept.count(), names(&lab, "").await), (0, Vec::new()));
    snapshot(&lab, &source, "never").await;
    lab.end().await;
}

pub async fn a_restart_in_the_middle_leaves_the_sandbox_or_its_snapshot(lab: Builder) {
    let mut lab = lab.start().await;
    let source = sandbox(&lab).await;
    run(&lab, &source, "echo kept > file").await;
    for step in ["snapshotting", "written"] {
        let held = lab.hold(step);
        let taking = {
            let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{source}/snapshot/create"));
            tokio::spawn(async move { api.attempt(Method::POST, &path, r#"{"name": "cut"}"#).await })
        };
        held.reached().await;
        lab.stop_node().await;
        held.release();
        lab.start_node().await.unwrap();
        let answer = taking.await.unwrap();
        assert_eq!(said(&lab, &source, "cat file").await, "kept\n", "{step}");
        // It is taken after all when its node is asked again in time, and then it was told so.
        let taken: Vec<_> = answer.filter(|answer| answer.status == 201).iter().map(Answer::json).collect();
        assert_eq!(names(&lab, "").await.len(), taken.len(), "{step}");
        for snapshot in taken {
            let id = snapshot["id"].as_str().unwrap();
            lab.api.delete(&format!("/v1/snapshot/{id}")).await.expect(204);
        }
    }
    // One that ends with it is not lost when nobody is there to hear of it.
    let held = lab.hold("kept");
    let taking = {
        let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{source}/snapshot/create"));
        let body = r#"{"name": "last", "kill_sandbox_after": true}"#;
        tokio::spawn(async move { api.attempt(Method::POST, &path, body).await })
    };
    held.reached().await;
    lab.stop_control().await;
    held.release();
    taking.await.unwrap();
    lab.start_control().await.unwrap();
    eventually("it is gone", async || shown(&lab, &source).await["state"] == "deleted").await;
    assert_eq!(names(&lab, "").await, ["last"]);
    assert_eq!(said(&lab, &restore(&lab, "last").await, "cat file").await, "kept\n");
    lab.end().await;
}

pub async fn what_is_damaged_or_gone_is_refused_before_anything_starts(lab: Builder) {
    let lab = lab.start().await;
    let source = sandbox(&lab).await;
    write(&lab, &source, "file", "kept").await.expect(204);
    let taken = snapshot(&lab, &source, "base").await;
    // Not from what is still plain.
    assert_nothing_plain(&lab).await;
    lab.kept.flip();
    let refused = lab.api.post("/v1/snapshot/restore", json!({ "snapshot_name": "base" })).await;
    assert!(refused.status.is_server_error() || refused.status == 409, "{refused:?}");
    assert!(refused.json()["message"].as_str().unwrap().contains("is damaged"), "{refused:?}");
    lab.kept.flip();
    assert_eq!(said(&lab, &restore(&lab, "base").await, "cat file").await, "kept");
    assert_nothing_plain(&lab).await;
    lab.kept.cut();
    let refused = lab.api.post("/v1/snapshot/restore", json!({ "snapshot_name": "base" })).await.expect(409);
    assert_eq!(refused.json()["code"], "snapshot_unusable", "{refused:?}");
    assert_eq!(lab.api.get("/v1/leaks").await.expect(200).json(), json!({ "items": [] }));
    let id = taken["id"].as_str().unwrap();
    lab.api.delete(&format!("/v1/snapshot/{id}")).await.expect(204);
    lab.end().await;
}

pub async fn bytes_go_with_the_last_that_needs_them_and_a_dry_run_says_which(lab: Builder) {
    let lab = lab.start().await;
    let source = sandbox(&lab).await;
    run(&lab, &source, "head -c 4000000 /dev/urandom > file").await;
    let first = snapshot(&lab, &source, "first").await;
    snapshot(&lab, &source, "second").await;
    let prune = async |dry_run: bool| {
        lab.api.post("/v1/snapshots/prune", json!({ "dry_run": dry_run })).await.expect(200).json()
    };
    let id = first["id"].as_str().unwrap();
    lab.api.delete(&format!("/v1/snapshot/{id}")).await.expect(204);
    prune(false).await;
    assert_eq!(said(&lab, &restore(&lab, "second").await, "wc -c < file").await, "4000000\n");
    let second = lab.api.get("/v1/snapshots").await.expect(200).json()["items"][0]["id"].clone();
    lab.api.delete(&format!("/v1/snapshot/{}", second.as_str().unwrap())).await.expect(204);
    let would = prune(true).await;
    assert!(would["bytes"].as_u64().unwrap() > 4_000_000, "{would}");
    assert_eq!(prune(false).await, would);
    assert_eq!(lab.kept.packs(), 0);
    lab.end().await;
}

pub async fn what_it_was_when_it_was_last_paused_outlives_a_sandbox_that_breaks(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, "echo paused > file").await;
    pause(&lab, &id).await;
    run(&lab, &id, "echo later > file").await;
    let machine = super::crash::machine(&lab, &id).await;
    rustix::process::kill_process(machine, rustix::process::Signal::KILL).unwrap();
    eventually("it is gone", async || shown(&lab, &id).await["state"] == "deleted").await;
    assert_eq!(names(&lab, "").await, [id.as_str()]);
    assert_eq!(said(&lab, &restore(&lab, &id).await, "cat file").await, "paused\n");
    // One that is deleted leaves nothing.
    let other = sandbox(&lab).await;
    pause(&lab, &other).await;
    run(&lab, &other, "true").await;
    lab.api.delete(&format!("/v1/sandbox/{other}")).await.expect(204);
    assert_eq!(names(&lab, "").await, [id.as_str()]);
    assert_eq!(lab.kept.count(), 1);
    lab.end().await;
}

pub async fn a_bucket_keeps_what_sandboxes_were(lab: Builder) {
    let mut lab = lab.in_bucket().start().await;
    let source = sandbox(&lab).await;
    run(&lab, &source, "head -c 1000000 /dev/urandom > file; sha256sum file > sum").await;
    pause(&lab, &source).await;
    assert_eq!(lab.kept.count(), 1);
    assert_eq!(run(&lab, &source, "sha256sum -c sum").await["exit_code"], 0);
    snapshot(&lab, &source, "base").await;
    lab.stop_node().await;
    lab.start_node().await.unwrap();
    assert_eq!(run(&lab, &restore(&lab, "base").await, "sha256sum -c sum").await["exit_code"], 0);
    // Without the bucket nothing is acknowledged, and nothing is lost.
    lab.kept.lose(true);
    let refused = ask_for_snapshot(&lab, &source, json!({ "name": "lost" })).await;
    assert!(refused.status.is_server_error(), "{refused:?}");
    assert_eq!(run(&lab, &source, "sha256sum -c sum").await["exit_code"], 0);
    lab.kept.lose(false);
    lab.clock.advance(Duration::from_secs(1));
    snapshot(&lab, &source, "lost").await;
    assert_eq!(names(&lab, "order-by=asc").await, ["base", "lost"]);
    lab.end().await;
}
