//! Snapshots.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::sandbox::NetworkPolicy;
use super::sandbox::Sandbox;
#[cfg(feature = "schema")]
use super::schema::{ForkCount, SnapshotName, Time, TimeoutSeconds};
use crate::id::{SandboxId, SnapshotId, TemplateId};

/// `POST /v1/sandbox/{id}/snapshot/create`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TakeSnapshot {
    /// What to call it; no two of a team have one name. Absent: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<SnapshotName>"))]
    pub name: Option<String>,
    /// Whether the sandbox ends with it: then nothing happens in it that is not in the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_sandbox_after: Option<bool>,
}

/// A snapshot: memory, processes and disk of a sandbox at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// What its team calls it.
    pub name: String,
    /// The sandbox that it was taken of.
    pub sandbox_id: SandboxId,
    /// What that was made from.
    pub template_id: TemplateId,
    /// Virtual CPUs of sandboxes that go on from it.
    pub vcpu: u32,
    /// Their memory in MiB.
    pub memory: u32,
    /// Their writable disk in MiB.
    pub disk: u32,
    /// Memory and files in it, in bytes, before what it shares with others and compression are taken off.
    pub size_bytes: u64,
    /// `ready`: one that is not cannot be seen.
    pub state: String,
    /// What sandboxes may reach that go on from it, unless something else is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<NetworkPolicy>"))]
    pub network_policy: Option<serde_json::Value>,
    /// When it was asked for.
    #[cfg_attr(feature = "schema", schemars(with = "Time"))]
    pub created_at: String,
}

/// `GET /v1/snapshots`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SnapshotList {
    /// A page of them.
    pub items: Vec<Snapshot>,
    /// How many there are before paging.
    pub total_items: u64,
}

/// `POST /v1/snapshot/restore`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RestoreSnapshot {
    /// The snapshot's name.
    #[cfg_attr(feature = "schema", schemars(with = "SnapshotName"))]
    pub snapshot_name: String,
    /// Seconds until the new sandbox ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<TimeoutSeconds>"))]
    pub timeout: Option<u32>,
    /// Whether it is paused instead of ended when its time is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_pause: Option<bool>,
    /// What it may reach. Absent: as the snapshot says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<NetworkPolicy>"))]
    pub network_policy: Option<serde_json::Value>,
}

/// `POST /v1/sandbox/{id}/fork`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fork {
    /// How many copies. Absent: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<ForkCount>"))]
    pub count: Option<u32>,
    /// Seconds until each ends. Absent: as many as the sandbox was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<TimeoutSeconds>"))]
    pub timeout: Option<u32>,
    /// Whether each is paused instead of ended when its time is up. Absent: as the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_pause: Option<bool>,
}

/// The copies of a sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Forks {
    /// All of them run.
    pub items: Vec<Sandbox>,
}

/// `POST /v1/snapshots/prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PruneSnapshots {
    /// Whether to say what would go, and let it be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}
