//! What control and a node say to each other: HTTP/1.1 with JSON bodies, over
//! a Unix socket on one box.
//!
//! | request | answer |
//! | --- | --- |
//! | `PUT /v1/sandboxes/{id}` [`PutSandbox`] | [`Observed`] once settled: running, or dead with the reason |
//! | `PUT /v1/sandboxes/{id}/deadline` [`PutDeadline`] | [`Observed`], its time changed; never makes a sandbox |
//! | `PUT /v1/sandboxes/{id}/pause` [`PauseSandbox`] | [`Observed`] once paused: its memory and files are durable, its compute is gone |
//! | `PUT /v1/sandboxes/{id}/wake` [`WakeSandbox`] | [`Observed`] once it runs again |
//! | `POST /v1/sandboxes/{id}/snapshot` [`TakeSnapshot`] | [`TakenSnapshot`] once durable; it runs on before that, unless it ends with it |
//! | `DELETE /v1/sandboxes/{id}` [`DeleteSandbox`] | [`Observed`] once gone; an unknown id is gone |
//! | `GET /v1/sandboxes`, `GET /v1/sandboxes/{id}` | [`Observed`], a list of them |
//! | `POST /v1/sandboxes/{id}/guest` | one guest stream, see [`GUEST_CONTENT_TYPE`] |
//! | `GET /v1/sandboxes/{id}/inspect` | [`Inspection`] |
//! | `GET /v1/changes` | [`Observed`] of every sandbox, then of each that changes, a JSON line each, for ever |
//! | `GET /v1/node` | [`NodeReport`] |
//! | `GET /v1/leaks` | a list of [`Leak`]; must be empty |
//! | `POST /v1/images/system` [`BuildSystemImage`] | [`BuildEvent`], a JSON line each, the last is `Done` or `Failed` |
//! | `POST /v1/images/pull` [`PullImage`] | [`PullEvent`], a JSON line each |
//! | `POST /v1/images/prune` [`PruneImages`] | [`Pruned`] |
//! | `DELETE /v1/snapshots/{root}` | nothing; an unknown one is gone |
//! | `POST /v1/snapshots/prune` [`PruneSnapshots`] | [`Pruned`] |
//!
//! Every failure is a [`NodeError`] with the status that [`NodeErrorCode::status`] names.
//! All of it is idempotent: the same `PUT` or `DELETE` again is the same answer again.

mod image;
mod snapshot;

use std::collections::BTreeMap;
use std::time::Duration;

pub use image::{
    PruneImages, Pruned, PrunedItem, PrunedKind, PullEvent, PullFailure, PullFailureCode, PullImage,
    PullPhase, PullProgress, ResolvedImage,
};
use serde::{Deserialize, Serialize};
pub use snapshot::{Origin, PruneSnapshots, TakeSnapshot, TakenSnapshot};

use crate::id::{NodeId, SandboxId};
use crate::image::{Digest, ImageConfig};
use crate::sandbox::{Boot, Death, Reason, Resources, State};
use crate::snapshot::Root;

/// The body of `…/guest`, both ways: frames of [`crate::guest::frame`], all on stream 1.
///
/// The request body starts with `Open` and goes on with `Data`, `Eof` and `Cancel`; the
/// answer is `Head`, `Data` and `End`. Credit is between node and agent: here HTTP's own
/// back-pressure serves. An answer that ends without `End` failed.
pub const GUEST_CONTENT_TYPE: &str = "application/vnd.atoll.guest";

/// The stream number in `…/guest` bodies.
pub const GUEST_STREAM: u32 = 1;

/// What a sandbox should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutSandbox {
    /// Grows with every change of desire; a lower one than the node has seen is [`NodeErrorCode::Stale`].
    pub generation: u64,
    /// What it is made of. Only the first `PUT` of an id decides this.
    pub spec: SandboxSpec,
}

/// What a sandbox is made of, with everything resolved: nothing here is looked up by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The image, which the node must have.
    pub image: Digest,
    /// Its size.
    pub resources: Resources,
    /// Seconds until [`Reason::Timeout`], counted from the moment it runs.
    pub timeout_seconds: u32,
    /// The environment of every process: the image's, then the user's.
    pub env: BTreeMap<String, String>,
    /// Where processes start.
    pub workdir: String,
    /// As whom, in the form of an image's `USER`.
    pub user: String,
    /// What runs from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
    /// Whether it is paused, and not ended, when its time is up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_pause: bool,
    /// What it goes on from, which the node must be able to fetch; absent, it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Origin>,
}

impl SandboxSpec {
    /// How long what it starts with may take to be up: a create takes so much longer than one of nothing.
    pub fn ready_wait(&self) -> Duration {
        let ready = self.boot.as_ref().and_then(|boot| boot.ready.as_ref());
        ready.map_or(Duration::ZERO, |ready| Duration::from_secs(ready.timeout_seconds.into()))
    }
}

/// When a sandbox that runs should end. Heard once for each generation: the same again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutDeadline {
    /// As in [`PutSandbox`].
    pub generation: u64,
    /// In so many milliseconds, counted by the node's clock since boot from the moment it hears this.
    pub ends_in_ms: u64,
}

/// A sandbox should be paused. Heard once for each generation: one that has been woken since stays awake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseSandbox {
    /// As in [`PutSandbox`].
    pub generation: u64,
}

/// A sandbox that is paused should run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeSandbox {
    /// As in [`PutSandbox`].
    pub generation: u64,
    /// As in [`SandboxSpec`]: its time begins anew.
    pub timeout_seconds: u32,
}

/// Why a sandbox should go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteSandbox {
    /// As in [`PutSandbox`].
    pub generation: u64,
    /// What its record will say, if it was still alive.
    pub reason: Reason,
}

/// What a sandbox is, as its node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Which.
    pub id: SandboxId,
    /// The newest generation the node has seen.
    pub generation: u64,
    /// Where it stands.
    pub state: State,
    /// How it ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub death: Option<Death>,
    /// When its time will be up, in wall-clock milliseconds; computed when this was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_at_ms: Option<u64>,
    /// Whether somebody has asked for one that is paused, and waits: it was not when he was sent here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_wanted: bool,
    /// The snapshot of it that outlives it, once it is gone. It is whoever hears of it who takes it away from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<Root>,
    /// How long each step took that led to where it is, a bring-up or a pause, in microseconds, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepTime>,
}

/// One step of a bring-up or a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTime {
    /// The step.
    pub step: String,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// Who and how big a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeReport {
    /// Which node.
    pub id: NodeId,
    /// Its engine: `gvisor`, `fake`.
    pub engine: String,
    /// The engine's version, as it says itself.
    pub engine_version: String,
    /// What it can hold.
    pub capacity: Capacity,
    /// What it holds.
    pub used: Capacity,
    /// Resources on the host that nobody owned when it last looked: so many of each kind ([`Leak::kind`]).
    #[serde(default)]
    pub leaks: BTreeMap<String, u64>,
    /// Images that sandboxes can be started from now.
    pub images: Vec<Digest>,
}

/// An amount of what a node is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Capacity {
    /// Sandboxes.
    pub sandboxes: u32,
    /// Virtual CPUs promised to them (more than the host has: they share).
    pub vcpu: u32,
    /// Memory promised to them, in MiB.
    pub memory_mib: u64,
}

/// Four views of one sandbox but the store's, for people. Each is free-form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The node's record and the task that owns it.
    pub node: serde_json::Value,
    /// The engine's processes, namespaces, mounts and files.
    pub engine: serde_json::Value,
    /// What the agent says.
    pub guest: serde_json::Value,
}

/// A resource on the host whose owner is gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Leak {
    /// `process`, `cgroup`, `netns`, `mount`, `disk`, `directory`, `engine_state`, …
    pub kind: String,
    /// Its name on the host.
    pub name: String,
    /// The sandbox it belonged to, if its name says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<SandboxId>,
}

/// An order for one of the images we ship the recipe of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSystemImage {
    /// The template's name, `system/` included.
    pub name: String,
    /// Whether it is not built of other packages than its lock names, where a mirror has moved on.
    #[serde(default)]
    pub locked: bool,
}

/// A line of a build's progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BuildEvent {
    /// Something happened.
    Progress(BuildProgress),
    /// The image is there.
    Done(BuiltImage),
    /// It is not, and will not be.
    Failed(BuildFailure),
}

/// Something that happened in a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuildProgress {
    /// For people.
    pub message: String,
}

/// Why a build made no image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuildFailure {
    /// Why.
    pub message: String,
}

/// An image a node has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuiltImage {
    /// Its name.
    pub digest: Digest,
    /// Its size on disk, in bytes.
    pub size_bytes: u64,
    /// How its processes run.
    pub config: ImageConfig,
    /// False if it was there already.
    pub built_now: bool,
}

/// A node's refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct NodeError {
    /// What kind.
    pub code: NodeErrorCode,
    /// For people.
    pub message: String,
}

impl NodeError {
    /// A refusal of this kind.
    pub fn new(code: NodeErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeErrorCode {
    /// The node has no such sandbox or image.
    NotFound,
    /// The sandbox is not in a state for this, and will not be soon.
    WrongState,
    /// The sandbox is paused: it must be woken first.
    Asleep,
    /// A newer generation has been seen.
    Stale,
    /// The node is full.
    NoCapacity,
    /// The node's disk is, or nearly so.
    StorageFull,
    /// The request makes no sense.
    Invalid,
    /// The snapshot is damaged, or nothing here can go on from it.
    Unusable,
    /// The engine failed; the sandbox's death says how.
    EngineFailed,
    /// The agent cannot be reached.
    GuestUnreachable,
    /// Something took longer than its bound.
    Timeout,
    /// A fault of the node's own.
    Internal,
}

impl NodeErrorCode {
    /// The HTTP status this kind travels with.
    pub fn status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::WrongState | Self::Asleep | Self::Stale | Self::Unusable => 409,
            Self::NoCapacity => 503,
            Self::StorageFull => 507,
            Self::Invalid => 400,
            Self::EngineFailed | Self::GuestUnreachable => 502,
            Self::Timeout => 504,
            Self::Internal => 500,
        }
    }
}
