//! A server on a host that will be in trouble, and what is asked of it then.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use testkit::http::{Answer, Client};
use testkit::lab::eventually;
use testkit::server::{Server, Site};

use crate::id_of;

const TEMPLATE: &str = "system/debian:bookworm";
/// Whatever ails the host, an answer comes within this: all bounds of the server together, with room for a busy host.
const ANSWER_BOUND: Duration = Duration::from_secs(60);

/// A server that knows the template.
pub struct Office {
    /// Where it serves.
    pub site: Site,
    /// The server, while it runs.
    pub server: Server,
    /// A client of it.
    pub api: Client,
}

impl Office {
    /// Starts it.
    pub fn open(site: Site, flags: &[&str]) -> Self {
        let server = site.serve(flags);
        let api = server.api();
        let built = server.atoll(&["template", "build", TEMPLATE]);
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Self { site, server, api }
    }

    /// Stops it.
    pub fn close(self) -> Site {
        self.server.stop();
        self.site
    }

    /// Makes a sandbox, which must work.
    pub async fn make(&self) -> String {
        id_of(&self.create().await.expect(201).json())
    }

    /// Asks for a sandbox.
    pub async fn create(&self) -> Answer {
        self.ask(Method::POST, "/v1/sandbox", json!({ "timeout": 28_800, "memory": 512 })).await
    }

    /// Asks for so many at once.
    pub async fn create_at_once(&self, count: usize) -> Vec<Answer> {
        let ask = |_| {
            let (api, body) = (self.api.clone(), json!({ "memory": 512 }).to_string());
            tokio::spawn(async move { api.attempt(Method::POST, "/v1/sandbox", body).await })
        };
        let asked: Vec<_> = (0..count).map(ask).collect();
        let mut answers = Vec::new();
        for one in asked {
            let answer = tokio::time::timeout(ANSWER_BOUND, one).await.expect("it is answered in time");
            answers.push(answer.expect("it does not panic").expect("it does not break off"));
        }
        answers
    }

    /// Runs a command in a sandbox; what it printed.
    pub async fn run(&self, id: &str, command: &str) -> String {
        let path = format!("/v1/sandbox/{id}/process/execute");
        let ran = self.ask(Method::POST, &path, json!({ "command": command })).await.expect(200).json();
        ran["stdout"].as_str().unwrap_or_default().to_owned()
    }

    /// Asks for a sandbox to be deleted.
    pub async fn delete(&self, id: &str) -> Answer {
        self.ask(Method::DELETE, &format!("/v1/sandbox/{id}"), Value::Null).await
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, Value::Null).await
    }

    /// Any request; there is an answer in time, whatever it is.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let asked = tokio::time::timeout(ANSWER_BOUND, self.api.attempt(method, path, body)).await;
        asked
            .unwrap_or_else(|_| panic!("{path} was not answered"))
            .unwrap_or_else(|| panic!("{path} broke off"))
    }

    /// The ids of the sandboxes that are listed.
    pub async fn listed(&self) -> Vec<String> {
        let list = self.get("/v1/sandboxes").await.expect(200).json();
        list["items"].as_array().expect("a list").iter().map(id_of).collect()
    }

    /// Waits until it says that it is ready and creates work, as they do by themselves once the cause is gone; the new
    /// sandbox.
    pub async fn recovered(&self) -> String {
        eventually("it is ready", async || self.get("/readyz").await.status == 200).await;
        self.make().await
    }

    /// Nothing is on the host that nobody owns.
    pub async fn nothing_leaks(&self) {
        let clean = async || self.get("/v1/leaks").await.expect(200).json() == json!({ "items": [] });
        eventually("nothing leaks", clean).await;
    }
}

/// What a refusal says: its code and its message.
pub trait Refusal {
    /// The refusal, which must have this status and this code, and name this; and say when to come back.
    fn refuses(self, status: u16, code: &str, named: &str) -> String;
}

impl Refusal for Answer {
    #[track_caller]
    fn refuses(self, status: u16, code: &str, named: &str) -> String {
        let answer = self.expect(status);
        let body = answer.json();
        let message = body["message"].as_str().expect("a refusal has a message");
        assert_eq!(body["code"], code, "{message}");
        assert!(message.contains(named), "{message}");
        assert!(answer.headers.contains_key("retry-after"), "it passes, so it says when: {message}");
        message.to_owned()
    }
}
