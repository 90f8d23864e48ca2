//! What registries want to see: kept sealed, shown to nobody, and bound to their template.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;
use wire::image::RegistryCredentials;

use crate::eventually;
use crate::support::Lab;

const PASSWORD: &str = "hunter2-and-more";

fn order(name: &str) -> Value {
    json!({"name": name, "uri": "r.test/it:v1",
        "credentials": {"type": "basic", "username": "me", "password": PASSWORD}})
}

fn keys(lines: &[(&str, u8)]) -> Option<String> {
    let line = |(id, byte): &(&str, u8)| format!("{id} {}\n", hex::encode([*byte; 32]));
    Some(lines.iter().map(line).collect())
}

/// What is logged, kept to be looked at.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Keeps all that is logged on this thread, until the guard goes.
    fn kept(&self) -> tracing::subscriber::DefaultGuard {
        let everything = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
        tracing::subscriber::set_default(everything.with_writer(self.clone()).finish())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn password_is_in(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes())
    })
}

/// The passwords that pulls were given. On a busy host one is asked for again before its outcome is heard: that is no news.
fn passwords(lab: &Lab) -> Vec<Option<String>> {
    let of = |given: &Option<RegistryCredentials>| match given {
        Some(RegistryCredentials::Basic { password, .. }) => Some(password.clone()),
        _ => None,
    };
    lab.node.inner.pulls.lock().unwrap().iter().map(|pull| of(&pull.credentials)).collect()
}

/// The same without repetitions.
fn different_passwords(lab: &Lab) -> Vec<Option<String>> {
    let mut passwords = passwords(lab);
    passwords.dedup();
    passwords
}

#[tokio::test]
async fn credentials_reach_the_node_and_nothing_else() {
    let log = Log::default();
    let _kept = log.kept();
    let mut lab = Lab::start().await;
    let made = lab.post("/v1/template", order("t")).await.expect(201);
    assert_eq!(made.json()["credentials"], json!({"type": "basic"}));
    let id = made.json()["id"].as_str().unwrap().to_owned();
    eventually!(lab.get(&format!("/v1/template/{id}")).await.json()["state"] == "ready");
    let sandbox = lab.post("/v1/sandbox", json!({"template_name": "t"})).await.expect(201).id();
    assert_eq!(different_passwords(&lab), [Some(PASSWORD.to_owned())]);
    let mut texts = vec![made.text(), log.text()];
    for path in [
        "/v1/templates".to_owned(),
        format!("/v1/template/{id}"),
        format!("/v1/sandbox/{sandbox}/inspect"),
        "/v1/events".to_owned(),
        "/v1/nodes".to_owned(),
    ] {
        texts.push(lab.get(&path).await.expect(200).text());
    }
    let wrong = json!({"name": "a b", "uri": "r.test/it:v1",
        "credentials": {"type": "basic", "username": "me", "password": PASSWORD, "token": PASSWORD}});
    texts.push(lab.post("/v1/template", wrong).await.expect(400).text());
    lab.stop().await;
    assert!(!texts.iter().any(|text| text.contains(PASSWORD)), "{texts:#?}");
    assert!(log.text().contains(&id), "the log is looked at");
    assert!(!password_is_in(&lab.data_dir()));
}

#[tokio::test]
async fn what_the_first_key_did_not_seal_is_sealed_again_at_the_start() {
    let mut lab = Lab::start().await;
    lab.secrets_keys = keys(&[("one", 1)]);
    lab.crash_and_restart().await;
    lab.node.set_pull_gate(false);
    lab.post("/v1/template", order("t")).await.expect(201);
    lab.secrets_keys = keys(&[("two", 2), ("one", 1)]);
    lab.crash_and_restart().await;
    lab.secrets_keys = keys(&[("two", 2)]);
    lab.crash_and_restart().await;
    eventually!(passwords(&lab).len() >= 2);
    assert!(passwords(&lab).iter().all(|password| password.as_deref() == Some(PASSWORD)));
}

#[tokio::test]
async fn a_key_that_is_missing_is_said_by_template_and_stops_nothing_else() {
    let log = Log::default();
    let _kept = log.kept();
    let mut lab = Lab::start().await;
    lab.secrets_keys = keys(&[("one", 1)]);
    lab.crash_and_restart().await;
    let id =
        lab.post("/v1/template", order("locked")).await.expect(201).json()["id"].as_str().unwrap().to_owned();
    eventually!(lab.get(&format!("/v1/template/{id}")).await.json()["state"] == "ready");
    lab.secrets_keys = keys(&[("two", 2)]);
    lab.crash_and_restart().await;
    let said = log.text();
    assert!(said.contains("locked") && said.contains("\\\"one\\\"") || said.contains("\"one\""), "{said}");
    // What needs no key goes on.
    lab.sandbox().await;
    lab.post("/v1/sandbox", json!({"template_name": "locked"})).await.expect(201);
    let path = format!("/v1/template/{id}");
    let locked = lab.patch(&path, json!({"uri": "r.test/it:v2"})).await.expect(409);
    assert_eq!(locked.code(), "credentials_sealed");
    assert!(
        locked.message().contains("locked") && locked.message().contains("new credentials"),
        "{}",
        locked.message()
    );
    let fresh = order("locked")["credentials"].clone();
    lab.patch(&path, json!({"credentials": fresh})).await.expect(204);
    lab.patch(&path, json!({"uri": "r.test/it:v2"})).await.expect(204);
    assert_eq!(passwords(&lab).last().unwrap().as_deref(), Some(PASSWORD));
}

#[tokio::test]
async fn credentials_do_not_open_in_another_templates_place() {
    let mut lab = Lab::start().await;
    let first = lab.post("/v1/template", order("first")).await.expect(201).json();
    lab.template("second").await;
    lab.stop().await;
    let path = lab.data_dir().join("atoll.sqlite");
    let mut store = sqlx::SqlitePool::connect(path.to_str().unwrap()).await.unwrap().acquire().await.unwrap();
    let swap = "UPDATE templates SET (credentials, credentials_kind) = \
                (SELECT credentials, credentials_kind FROM templates WHERE id = $1) WHERE name = 'second'";
    sqlx::query(swap).bind(first["id"].as_str().unwrap()).execute(&mut *store).await.unwrap();
    drop(store);
    lab.crash_and_restart().await;
    let list = lab.get("/v1/templates").await.json();
    let second =
        list["items"].as_array().unwrap().iter().find(|item| item["name"] == "second").unwrap().clone();
    let path = format!("/v1/template/{}", second["id"].as_str().unwrap());
    let refused = lab.patch(&path, json!({"uri": "r.test/it:v2"})).await.expect(409);
    assert!(refused.message().contains("belongs elsewhere"), "{}", refused.message());
    let is_asked = lab.node.inner.pulls.lock().unwrap().iter().any(|pull| pull.source.ends_with("it:v2"));
    assert!(!is_asked, "the node was asked");
}

#[tokio::test]
async fn credentials_are_shown_to_no_other_registry_and_can_be_given_up() {
    let lab = Lab::start().await;
    let id = lab.post("/v1/template", order("t")).await.expect(201).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/template/{id}");
    let elsewhere = json!({"uri": "evil.test/it:v1"});
    assert_eq!(lab.patch(&path, elsewhere).await.expect(400).wrong_fields(), ["credentials"]);
    lab.patch(&path, json!({"uri": "evil.test/it:v1", "credentials": null})).await.expect(204);
    assert_eq!(different_passwords(&lab), [Some(PASSWORD.to_owned()), None]);
    assert!(lab.get(&path).await.json().get("credentials").is_none());
}
