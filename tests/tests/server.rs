//! The binary as users and operators meet it: started, asked, killed in part, stopped.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::json;
use testkit::lab::eventually;
use testkit::server::{Server, Site};
use tests::id_of;

const TEMPLATE: &str = "system/debian:bookworm";

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server with the template known to its store.
fn serve(site: &Site, flags: &[&str]) -> Server {
    let server = site.serve(flags);
    let built = server.atoll(&["template", "build", TEMPLATE]);
    assert!(built.status.success(), "{}", stderr(&built));
    server
}

#[test]
fn a_command_runs_and_its_code_is_ours() {
    let site = Site::new();
    let server = serve(&site, &[]);
    let ran =
        server.atoll(&["run", TEMPLATE, "--", "sh", "-c", "printf 'a\\377'; echo complaint >&2; exit 7"]);
    assert_eq!((ran.status.code(), &ran.stdout[..]), (Some(7), &b"a\xff"[..]));
    assert_eq!(stderr(&ran), "complaint\n");
    let environment = server.atoll(&["run", "--env", "A=b=c", TEMPLATE, "--", "printenv", "A"]);
    assert_eq!(stdout(&environment), "b=c\n");
    let unknown = server.atoll(&["run", "no/such:template", "--", "true"]);
    assert_eq!(unknown.status.code(), Some(125));
    assert!(stderr(&unknown).contains("no/such:template"), "{}", stderr(&unknown));
    assert_eq!(stdout(&server.atoll(&["sandbox", "ls"])).lines().count(), 1, "only the heading");
    server.stop();
}

#[test]
fn the_first_key_is_for_its_owner_alone_and_not_in_the_store() {
    let site = Site::new();
    let server = serve(&site, &[]);
    let mode = std::fs::metadata(site.data().join("api-key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = server.key().as_bytes();
    for entry in std::fs::read_dir(site.data().join("control")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(key.len()).any(|window| window == key), "{} holds the key", path.display());
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_are_killed_come_back_and_sandboxes_go_on() {
    let site = Site::new();
    let server = serve(&site, &[]);
    let api = server.api();
    let id = id_of(&api.post("/v1/sandbox", json!({})).await.expect(201).json());
    let path = format!("/v1/sandbox/{id}/process/execute");
    for role in ["control", "node", "control"] {
        server.kill(role);
        eventually("the sandbox answers", async || {
            let (api, path) = (api.clone(), path.clone());
            // The request that meets the crash itself may break; the next must not.
            let asked =
                tokio::spawn(async move { api.post(&path, json!({ "command": "echo on" })).await }).await;
            asked.is_ok_and(|answer| answer.status == 200 && answer.json()["stdout"] == "on\n")
        })
        .await;
    }
    api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    assert_eq!(api.get("/v1/leaks").await.expect(200).json(), json!({ "items": [] }));
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_leaves_sandboxes_to_the_next_start_unless_they_were_ephemeral() {
    let site = Site::new();
    let server = serve(&site, &[]);
    let id = id_of(&server.api().post("/v1/sandbox", json!({})).await.expect(201).json());
    server.stop();
    let server = site.serve(&["--ephemeral"]);
    let path = format!("/v1/sandbox/{id}");
    assert_eq!(server.api().get(&path).await.expect(200).json()["state"], "running");
    let views = stdout(&server.atoll(&["sandbox", "inspect", &id]));
    for party in ["store", "node", "engine", "guest"] {
        assert!(views.contains(&format!("── {party} says ──")), "{views}");
    }
    server.stop();
    let server = site.serve(&[]);
    eventually("the sandbox is gone", async || {
        server.api().get(&path).await.expect(200).json()["state"] == "deleted"
    })
    .await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ingress_is_a_user_of_its_own_believed_by_its_authority_and_comes_back() {
    let site = Site::new();
    let server = serve(&site, &["--domain", "apps.test"]);
    let name = "sbx-hhhhhhhhhhhhhhhhhhhh-80.apps.test";
    let (_, port) = server.ingress().split_once(':').unwrap();
    let asked = || {
        let mut curl = std::process::Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
            .arg(site.data().join("tls/ca.pem"))
            .args(["--write-out", " %{http_code}", "--resolve", &format!("{name}:{port}:127.0.0.1")])
            .args(["--header", &format!("authorization: {}", server.key())])
            .arg(format!("https://{name}:{port}/"));
        stdout(&curl.output().expect("curl is installed"))
    };
    assert!(asked().ends_with(" 404"), "{}", asked());
    let user = |role: &str| {
        let pid = server.part(role).expect("it runs").as_raw_nonzero();
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{pid}")).unwrap())
    };
    if rustix::process::geteuid().is_root() {
        assert_eq!((user("node"), user("ingress")), (0, user("control") + 1));
    }
    server.kill("ingress");
    // Whoever comes meanwhile waits in the queue, or was heard by the one that was killed.
    eventually("it is there again", || std::future::ready(asked().ends_with(" 404"))).await;
    server.stop();
}

#[test]
fn what_cannot_be_served_is_said() {
    let site = Site::new();
    let server = serve(&site, &[]);
    let second = site.command().output().unwrap();
    assert!(!second.status.success() && stderr(&second).contains("another server"), "{}", stderr(&second));
    server.stop();
    let unsafe_engine = std::process::Command::new(testkit::bins::atoll())
        .args(["serve", "--engine", "fake", "--data-dir"])
        .arg(site.data())
        .output()
        .unwrap();
    assert!(stderr(&unsafe_engine).contains("--unsafe-fake-engine"), "{}", stderr(&unsafe_engine));
    let no_server = std::process::Command::new(testkit::bins::atoll()).args(["--version"]).output().unwrap();
    assert!(stdout(&no_server).starts_with("atoll "));
    let alone = std::process::Command::new(testkit::bins::atoll())
        .args(["sandbox", "ls", "--url", "http://127.0.0.1:9", "--api-key", "any"])
        .output()
        .unwrap();
    assert!(stderr(&alone).contains("is `atoll serve` running?"), "{}", stderr(&alone));
}
