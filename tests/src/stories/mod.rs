//! The stories, by what they are about.
#![allow(missing_docs, reason = "the name of a story says what it tells")]

pub mod boot;
pub mod bundles;
pub mod crash;
pub mod cuts;
pub mod events;
pub mod exec;
pub mod files;
pub mod ingress;
pub mod life;
pub mod limits;
pub mod operations;
pub mod partings;
pub mod pause;
pub mod presigned;
pub mod processes;
pub mod pty;
pub mod snapshots;
mod sse;
pub mod templates;
pub mod watch;

use serde_json::{Value, json};
use testkit::http::Answer;
use testkit::lab::Lab;

use crate::id_of;

/// A command of a story that is not about time has so long.
const PATIENCE_SECONDS: u32 = 300;

/// A new sandbox's id.
async fn sandbox(lab: &Lab) -> String {
    id_of(&lab.api.post("/v1/sandbox", json!({})).await.expect(201).json())
}

/// What a command came to.
async fn run(lab: &Lab, id: &str, command: &str) -> Value {
    execute(lab, id, json!({ "command": command })).await.expect(200).json()
}

async fn execute(lab: &Lab, id: &str, mut body: Value) -> Answer {
    // Emulated machines are slow; only a story about time has one of its own.
    body.as_object_mut().expect("a body is an object").entry("timeout").or_insert(json!(PATIENCE_SECONDS));
    lab.api.post(&format!("/v1/sandbox/{id}/process/execute"), body).await
}

/// Whether this is an emulated machine, where everything takes its time.
fn is_slow() -> bool {
    std::env::var_os("ATOLL_TEST_SLOW").is_some()
}

/// Seconds in which a shell has said its first word, for commands that are to run out of time.
fn brief() -> u32 {
    if is_slow() { 15 } else { 1 }
}

/// How many of a thing a story that is about many makes: a tenth of it where machines are emulated.
fn many(number: usize) -> usize {
    if is_slow() { number.div_ceil(10) } else { number }
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
