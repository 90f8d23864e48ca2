//! What a snapshot knows of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::image::Digest;
use wire::sandbox::Resources;
pub use wire::snapshot::{InvalidRoot, Root};

/// What has to be known before anything is started from a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The engine that wrote it.
    pub engine: String,
    /// The version of that engine.
    pub engine_version: String,
    /// The flags it ran with, of which others cannot read what it wrote.
    pub engine_flags: Vec<String>,
    /// What the CPU could do that its programs may have come to count on.
    pub cpu_features: Vec<String>,
    /// The image it was made from.
    pub image: Digest,
    /// What it may use.
    pub resources: Resources,
    /// What its agent speaks.
    pub agent_generation: u32,
    /// Wall-clock milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// The sandbox it was.
    pub sandbox: String,
    /// Whatever else the caller needs to know; what a later build adds is kept here by an earlier one.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}
