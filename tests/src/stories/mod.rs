//! The stories, by what they are about.
#![allow(missing_docs, reason = "the name of a story says what it tells")]

pub mod crash;
pub mod exec;
pub mod files;
pub mod life;
pub mod limits;

use serde_json::{Value, json};
use testkit::http::Answer;
use testkit::lab::Lab;

use crate::id_of;

/// A new sandbox's id.
async fn sandbox(lab: &Lab) -> String {
    id_of(&lab.api.post("/v1/sandbox", json!({})).await.expect(201).json())
}

/// What a command came to.
async fn run(lab: &Lab, id: &str, command: &str) -> Value {
    execute(lab, id, json!({ "command": command })).await.expect(200).json()
}

async fn execute(lab: &Lab, id: &str, body: Value) -> Answer {
    lab.api.post(&format!("/v1/sandbox/{id}/process/execute"), body).await
}

async fn write(lab: &Lab, id: &str, path: &str, content: impl Into<bytes::Bytes>) -> Answer {
    lab.api.post_bytes(&format!("/v1/sandbox/{id}/filesystem/write-file?path={path}"), content).await
}

async fn read(lab: &Lab, id: &str, body: Value) -> Answer {
    lab.api.post(&format!("/v1/sandbox/{id}/filesystem/read-file"), body).await
}

async fn shown(lab: &Lab, id: &str) -> Value {
    lab.api.get(&format!("/v1/sandbox/{id}/")).await.expect(200).json()
}
