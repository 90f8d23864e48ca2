//! Sandboxes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, SandboxId, TemplateId};
use crate::sandbox::{Reason, State};

/// `POST /v1/sandbox`. What is absent has the default of [`crate::sandbox::defaults`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CreateSandbox {
    /// The template to make it from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_name: Option<String>,
    /// Virtual CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpu: Option<u32>,
    /// Memory, in MiB; even.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// Seconds until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Whether it is paused instead of ended when its time is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_pause: Option<bool>,
    /// The environment of every process in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_vars: Option<BTreeMap<String, String>>,
    /// What it may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<serde_json::Value>,
    /// Object storage to show in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<serde_json::Value>>,
}

/// A sandbox, as create, get and pause show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Its id.
    pub id: SandboxId,
    /// What it was made from.
    pub template_id: TemplateId,
    /// Where it stands.
    pub state: State,
    /// Virtual CPUs.
    pub vcpu: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// Writable disk in MiB.
    pub disk: u32,
    /// Seconds it was given.
    pub timeout: u32,
    /// Whether it is paused instead of ended when its time is up.
    pub auto_pause: bool,
    /// When it was created.
    pub created_at: String,
    /// When its time is up, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_at: Option<u64>,
    /// What it may reach, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<serde_json::Value>,
    /// Object storage shown in it.
    pub mounts: Vec<serde_json::Value>,
    /// Why it ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What was seen that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_detail: Option<String>,
}

/// `GET /v1/sandboxes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SandboxList {
    /// One page of them.
    pub items: Vec<SandboxListItem>,
    /// How many there are before paging.
    pub total_items: u64,
}

/// A sandbox in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SandboxListItem {
    /// Its id.
    pub id: SandboxId,
    /// What it was made from.
    pub template_id: TemplateId,
    /// The node it is on. The name is the contract's.
    pub pod_id: NodeId,
    /// Where it stands.
    pub state: State,
    /// When it came up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_time: Option<String>,
    /// When its state last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_change_time: Option<String>,
    /// When its time is up, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_at: Option<u64>,
    /// When it was created.
    pub created_at: String,
}

/// `GET /v1/sandbox/{id}/inspect`: what each party says of one sandbox, side by side, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SandboxInspection {
    /// The row in the store.
    pub store: serde_json::Value,
    /// The node's record.
    pub node: serde_json::Value,
    /// The engine's processes, namespaces, mounts and files.
    pub engine: serde_json::Value,
    /// What the agent says.
    pub guest: serde_json::Value,
}
