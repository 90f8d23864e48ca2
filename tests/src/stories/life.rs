//! From create to delete.

use std::time::Duration;

use serde_json::json;
use testkit::lab::{Builder, eventually};
use testkit::machines::Kind;

use super::{execute, many, run, sandbox, shown};
use crate::id_of;

pub async fn a_program_runs_and_its_output_and_code_come_back(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let body = json!({ "argv": ["python3", "-c", "import sys; print(6*7); print('no', file=sys.stderr); sys.exit(3)"] });
    let ended = execute(&lab, &id, body).await.expect(200).json();
    assert_eq!(ended, json!({ "exit_code": 3, "stdout": "42\n", "stderr": "no\n" }));
    lab.end().await;
}

pub async fn a_sandbox_is_shown_as_the_contract_says(lab: Builder) {
    let lab = lab.start().await;
    let asked = json!({ "template_name": "system/debian:bookworm", "vcpu": 2, "memory": 512, "timeout": 60,
        "auto_pause": false, "env_vars": null, "network_policy": { "mode": "allow-all" } });
    let created = lab.api.post("/v1/sandbox", asked).await.expect(201).json();
    assert_eq!(created["state"], "running");
    assert_eq!(
        (&created["vcpu"], &created["memory"], &created["timeout"]),
        (&json!(2), &json!(512), &json!(60))
    );
    assert_eq!(created["mounts"], json!([]));
    assert_eq!(created["network_policy"], json!({ "mode": "allow-all" }));
    let id = id_of(&created);
    assert_eq!(shown(&lab, &id).await["state"], "running");
    let listed = lab.api.get("/v1/sandboxes?state=running").await.expect(200).json();
    assert_eq!((&listed["total_items"], &listed["items"][0]["id"]), (&json!(1), &json!(id)));
    lab.end().await;
}

pub async fn environment_workdir_and_user_are_those_of_template_and_request(lab: Builder) {
    let lab = lab.start().await;
    let asked = json!({ "env_vars": { "GREETING": "hello there", "PATH_LIKE": "a:b" } });
    let id = id_of(&lab.api.post("/v1/sandbox", asked).await.expect(201).json());
    let body = json!({ "command": "echo \"$GREETING|$PATH_LIKE|$ONCE|$LANG\"; pwd", "envs": { "ONCE": "only now" } });
    let ended = execute(&lab, &id, body).await.expect(200).json();
    let lines: Vec<_> = ended["stdout"].as_str().unwrap().lines().collect();
    assert_eq!(lines[0], "hello there|a:b|only now|C.UTF-8");
    assert!(lines[1].ends_with("/workspace"), "{lines:?}");
    if lab.kind != Kind::Fake {
        assert_eq!(
            run(&lab, &id, "id -un; echo $HOME; hostname").await["stdout"],
            format!("user\n/home/user\n{id}\n")
        );
        assert_eq!(
            run(&lab, &id, "touch /home/user/a /workspace/b /tmp/c && echo ok").await["stdout"],
            "ok\n"
        );
    }
    lab.end().await;
}

pub async fn a_sandbox_ends_when_its_time_is_up(lab: Builder) {
    let lab = lab.start().await;
    let id = id_of(&lab.api.post("/v1/sandbox", json!({ "timeout": 100 })).await.expect(201).json());
    lab.clock.set_wall_ms(0);
    lab.clock.advance(Duration::from_secs(99));
    assert_eq!(run(&lab, &id, "echo still here").await["stdout"], "still here\n");
    lab.clock.advance(Duration::from_secs(1));
    eventually("the sandbox ends", async || shown(&lab, &id).await["state"] == "deleted").await;
    assert_eq!(shown(&lab, &id).await["reason"], "timeout");
    assert_eq!(lab.api.get("/v1/sandboxes").await.expect(200).json()["total_items"], 0);
    lab.end().await;
}

pub async fn a_sandbox_is_given_more_time_and_less(lab: Builder) {
    let mut lab = lab.start().await;
    let id = id_of(&lab.api.post("/v1/sandbox", json!({ "timeout": 100 })).await.expect(201).json());
    let path = format!("/v1/sandbox/{id}/timeout");
    lab.clock.advance(Duration::from_secs(50));
    // Whoever set the wall clock changed nothing of what is planned.
    lab.clock.set_wall_ms(0);
    lab.api.post(&path, json!({ "extend": 28_800 })).await.expect(400);
    let extended = lab.api.post(&path, json!({ "extend": 100 })).await.expect(200).json();
    assert_eq!((&extended["timeout"], &extended["timeout_at"]), (&json!(200), &json!(150)));
    lab.stop_node().await;
    lab.stop_control().await;
    lab.start_node().await.unwrap();
    lab.start_control().await.unwrap();
    lab.clock.advance(Duration::from_secs(149));
    assert_eq!(run(&lab, &id, "echo still here").await["stdout"], "still here\n");
    lab.api.post(&path, json!({ "timeout": 28_800 })).await.expect(200);
    lab.clock.advance(Duration::from_secs(1000));
    assert_eq!(run(&lab, &id, "echo here").await["stdout"], "here\n");
    assert_eq!(lab.api.post(&path, json!({ "timeout": 1 })).await.expect(200).json()["timeout"], 1);
    lab.clock.advance(Duration::from_secs(1));
    eventually("the sandbox ends", async || shown(&lab, &id).await["state"] == "deleted").await;
    assert_eq!(shown(&lab, &id).await["reason"], "timeout");
    lab.api.post(&path, json!({ "timeout": 60 })).await.expect(404);
    lab.end().await;
}

pub async fn an_extension_races_the_end_and_leaves_one_of_the_two(lab: Builder) {
    let lab = lab.start().await;
    let mut ids = Vec::new();
    for _ in 0..many(10) {
        ids.push(id_of(&lab.api.post("/v1/sandbox", json!({ "timeout": 100 })).await.expect(201).json()));
    }
    lab.clock.advance(Duration::from_millis(99_999));
    let extend = |id: &String| {
        let (api, path) = (lab.api.clone(), format!("/v1/sandbox/{id}/timeout"));
        tokio::spawn(async move { api.post(&path, json!({ "extend": 1000 })).await })
    };
    let extensions: Vec<_> = ids.iter().map(extend).collect();
    lab.clock.advance(Duration::from_millis(1));
    for (id, extension) in ids.iter().zip(extensions) {
        let answer = extension.await.unwrap();
        if answer.status == 200 {
            assert_eq!(run(&lab, id, "echo alive").await["stdout"], "alive\n");
        } else {
            let refused = answer.json();
            let code = refused["code"].as_str().unwrap_or_default();
            assert!(["sandbox_deleting", "sandbox_deleted"].contains(&code), "{refused}");
            assert!(refused["message"].as_str().unwrap().contains("timeout"), "{refused}");
            eventually("it is gone", async || shown(&lab, id).await["state"] == "deleted").await;
            assert_eq!(shown(&lab, id).await["reason"], "timeout");
        }
    }
    lab.end().await;
}

pub async fn a_sandbox_knows_its_directories(lab: Builder) {
    let lab = lab.start().await;
    let system = async |id: &str, name: &str| {
        lab.api.get(&format!("/v1/sandbox/{id}/system/{name}")).await.expect(200).json()
    };
    let id = sandbox(&lab).await;
    assert_eq!(system(&id, "workdir").await, json!({ "workdir": "/workspace" }));
    if lab.kind != Kind::Fake {
        assert_eq!(system(&id, "user-home-dir").await, json!({ "user_home_dir": "/home/user" }));
    }
    let asked = json!({ "env_vars": { "HOME": "/workspace/home" } });
    let moved = id_of(&lab.api.post("/v1/sandbox", asked).await.expect(201).json());
    assert_eq!(system(&moved, "user-home-dir").await, json!({ "user_home_dir": "/workspace/home" }));
    assert_eq!(run(&lab, &moved, "echo ~").await["stdout"], "/workspace/home\n");
    lab.end().await;
}

pub async fn delete_twice_is_as_good_as_once(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let path = format!("/v1/sandbox/{id}");
    let (first, second) = tokio::join!(lab.api.delete(&path), lab.api.delete(&path));
    first.expect(204);
    second.expect(204);
    lab.api.delete(&format!("{path}/")).await.expect(204);
    let gone = shown(&lab, &id).await;
    assert_eq!((&gone["state"], &gone["reason"]), (&json!("deleted"), &json!("deleted")));
    execute(&lab, &id, json!({ "command": "true" })).await.expect(404);
    lab.end().await;
}

pub async fn two_sandboxes_share_nothing(lab: Builder) {
    let lab = lab.start().await;
    let (a, b) = tokio::join!(sandbox(&lab), sandbox(&lab));
    assert_ne!(a, b);
    super::write(&lab, &a, "/workspace/mine", "secret").await.expect(204);
    super::read(&lab, &b, json!({ "path": "/workspace/mine" })).await.expect(404);
    lab.api.delete(&format!("/v1/sandbox/{a}")).await.expect(204);
    assert_eq!(run(&lab, &b, "echo on").await["stdout"], "on\n");
    lab.end().await;
}

pub async fn a_hundred_creates_at_once_end_in_sandboxes_or_clean_refusals(lab: Builder) {
    let room = many(12) as u32;
    let lab = lab.capacity(room).start().await;
    let creates: Vec<_> = (0..many(100))
        .map(|_| {
            let api = lab.api.clone();
            tokio::spawn(async move { api.post("/v1/sandbox", json!({})).await })
        })
        .collect();
    let mut made = 0;
    for create in creates {
        let answer = create.await.unwrap();
        if answer.status.as_u16() == 201 {
            made += 1;
        } else {
            assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
            answer.expect(503);
        }
    }
    assert_eq!(made, room);
    assert_eq!(lab.api.get("/v1/sandboxes?state=running").await.expect(200).json()["total_items"], room);
    lab.end().await;
}
