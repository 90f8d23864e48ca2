//! Sandboxes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::process::{Execute, Ran};
#[cfg(feature = "schema")]
use super::schema::{
    Environment, FreeForm, MemoryMib, MoreSeconds, NotYetAny, Ports, TemplateName, Time, TimeoutSeconds, Vcpu,
};
use crate::id::{NodeId, SandboxId, TemplateId};
use crate::sandbox::{Reason, State};

/// The states a list can be asked for. Clients ask for `stopping` and `stopped` too, in which no sandbox is.
pub const LISTED_STATES: [&str; 8] = [
    State::Starting.as_str(),
    State::Running.as_str(),
    State::Snapshotting.as_str(),
    State::Paused.as_str(),
    State::Unpausing.as_str(),
    State::Deleting.as_str(),
    "stopping",
    "stopped",
];

/// Ports of one sandbox that are open to whoever asks.
pub const PUBLIC_PORTS_MAX: usize = 32;

/// A sandbox to make. What is absent has its default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateSandbox {
    /// The template to make it from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<TemplateName>"))]
    pub template_name: Option<String>,
    /// Virtual CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vcpu>"))]
    pub vcpu: Option<u32>,
    /// Memory, in MiB; even.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<MemoryMib>"))]
    pub memory: Option<u32>,
    /// Seconds until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<TimeoutSeconds>"))]
    pub timeout: Option<u32>,
    /// Whether it is paused instead of ended when its time is up. Its time begins anew whenever it wakes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_pause: Option<bool>,
    /// The environment of every process in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Environment>"))]
    pub env_vars: Option<BTreeMap<String, String>>,
    /// What it may reach. Absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<NetworkPolicy>"))]
    pub network_policy: Option<serde_json::Value>,
    /// Object storage to show in it. Not supported yet: a list with anything in it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<NotYetAny>"))]
    pub mounts: Option<Vec<serde_json::Value>>,
    /// Ports that are open to whoever asks, without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Ports>"))]
    pub public_ports: Option<Vec<u16>>,
    /// A command to run in it at once. With an `Idempotency-Key` it is run once at most: a request that is answered with
    /// the sandbox of an earlier one runs nothing, and its answer has no `executed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Execute>,
}

/// What a sandbox may reach. As long as nothing can be forbidden, the one policy is to allow everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkPolicy {
    /// The rule for what no list names.
    pub mode: NetworkMode,
    /// Names that may be reached. Not supported yet: a list with anything in it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<NotYetAny>"))]
    pub allow_domains: Option<Vec<String>>,
    /// Networks that may be reached. Not supported yet: a list with anything in it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<NotYetAny>"))]
    pub allow_cidrs: Option<Vec<String>>,
    /// Changes to requests on their way out. Not supported yet: a list with anything in it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<NotYetAny>"))]
    pub transforms: Option<Vec<serde_json::Value>>,
}

/// The rule for what no list of a [`NetworkPolicy`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// It may be reached.
    AllowAll,
}

/// A sandbox, as create, get and pause show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// Seconds it was given: when it was made or its time was last set, and those that were added since.
    pub timeout: u32,
    /// Whether it is paused instead of ended when its time is up.
    pub auto_pause: bool,
    /// When it was created.
    #[cfg_attr(feature = "schema", schemars(with = "Time"))]
    pub created_at: String,
    /// When its time is up, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_at: Option<u64>,
    /// What it may reach, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<NetworkPolicy>"))]
    pub network_policy: Option<serde_json::Value>,
    /// Object storage shown in it.
    #[cfg_attr(feature = "schema", schemars(with = "NotYetAny"))]
    pub mounts: Vec<serde_json::Value>,
    /// Ports that are open to whoever asks, without a key.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Ports"))]
    pub public_ports: Vec<u16>,
    /// Why it ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What was seen that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_detail: Option<String>,
}

/// `POST /v1/sandbox/{id}/timeout`: exactly one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChangeTimeout {
    /// Its time is up so many seconds from now. Sent twice, it is as good as once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<MoreSeconds>"))]
    pub timeout: Option<u32>,
    /// Its time is up so many seconds later than it was to be. Sent twice, it is that much later twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<MoreSeconds>"))]
    pub extend: Option<u32>,
}

/// `GET` and `PUT /v1/sandbox/{id}/public-ports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PublicPorts {
    /// Those that are open to whoever asks, without a key; the agent's, 1, never is.
    #[cfg_attr(feature = "schema", schemars(with = "Ports"))]
    pub ports: Vec<u16>,
}

/// `GET /v1/sandbox/{id}/system/user-home-dir`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserHomeDir {
    /// The home of the sandbox's user, as processes have it in `HOME`.
    pub user_home_dir: String,
}

/// `GET /v1/sandbox/{id}/system/workdir`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Workdir {
    /// Where processes start and relative paths begin: the image's.
    pub workdir: String,
}

/// A sandbox that was made, and what came of the command it was made for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SandboxMade {
    /// The sandbox.
    #[serde(flatten)]
    pub sandbox: Sandbox,
    /// What came of [`CreateSandbox::run`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executed: Option<Ran>,
}

/// `GET /v1/sandboxes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SandboxList {
    /// One page of them.
    pub items: Vec<SandboxListItem>,
    /// How many there are before paging.
    pub total_items: u64,
}

/// A sandbox in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    #[cfg_attr(feature = "schema", schemars(with = "Option<Time>"))]
    pub launch_time: Option<String>,
    /// When its state last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Time>"))]
    pub state_change_time: Option<String>,
    /// When its time is up, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_at: Option<u64>,
    /// When it was created.
    #[cfg_attr(feature = "schema", schemars(with = "Time"))]
    pub created_at: String,
}

/// `GET /v1/sandbox/{id}/inspect`: what each party says of one sandbox, side by side, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SandboxInspection {
    /// The row in the store.
    #[cfg_attr(feature = "schema", schemars(with = "FreeForm"))]
    pub store: serde_json::Value,
    /// The node's record.
    #[cfg_attr(feature = "schema", schemars(with = "FreeForm"))]
    pub node: serde_json::Value,
    /// The engine's processes, namespaces, mounts and files.
    #[cfg_attr(feature = "schema", schemars(with = "FreeForm"))]
    pub engine: serde_json::Value,
    /// What the agent says.
    #[cfg_attr(feature = "schema", schemars(with = "FreeForm"))]
    pub guest: serde_json::Value,
}
