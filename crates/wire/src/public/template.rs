//! Templates.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::sandbox::NetworkPolicy;
#[cfg(feature = "schema")]
use super::schema::{
    DiskMib, Environment, IdleSeconds, ImageSourceText, OwnMemoryMib, OwnTemplateName, OwnVcpu, PoolSize,
    StartCommand, TemplateName, Time,
};
use crate::id::TemplateId;
use crate::image::{Digest, ImageConfig, RegistryCredentials};
use crate::node::{PullFailure, PullProgress};
use crate::sandbox::ReadyCheck;

/// What sandboxes of a template get where their maker says nothing else.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateSpec {
    /// Virtual CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<OwnVcpu>"))]
    pub vcpu: Option<u32>,
    /// Memory, in MiB; even.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<OwnMemoryMib>"))]
    pub memory: Option<u32>,
    /// What can be written on top of the image, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<DiskMib>"))]
    pub disk: Option<u32>,
    /// Variables of every process. They beat the image's; a sandbox's own beat them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Environment>"))]
    pub env_vars: Option<BTreeMap<String, String>>,
    /// A command line for `/bin/sh` that is started with the sandbox, in place of the image's entrypoint and command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<StartCommand>"))]
    pub start_cmd: Option<String>,
    /// When what is started counts as up. Nobody is served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_check: Option<ReadyCheck>,
    /// What a sandbox may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<NetworkPolicy>"))]
    pub network_policy: Option<serde_json::Value>,
    /// How many sandboxes are kept ready. Stored; nothing is kept ready yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// When the image's layers are fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<PullMode>,
}

/// How many sandboxes of a template are kept ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pool {
    /// At least.
    #[cfg_attr(feature = "schema", schemars(with = "PoolSize"))]
    pub min_idle: u32,
    /// At most; not less than `min_idle`.
    #[cfg_attr(feature = "schema", schemars(with = "PoolSize"))]
    pub max_idle: u32,
}

/// When the layers of a template's image are fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PullMode {
    /// At once.
    #[default]
    Eager,
    /// When the first sandbox is made.
    Lazy,
}

/// Who sees a template.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Its team.
    #[default]
    Team,
    /// Every team. Only operators make templates so, and change those that are.
    Public,
}

/// Where a template stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TemplateState {
    /// Its image is known and verified; the layers come with the first sandbox.
    Resolved,
    /// They are coming. A sandbox that is asked for waits, for a while.
    Pulling,
    /// Sandboxes start at once.
    Ready,
    /// The image cannot be had; `failure` says why.
    Failed,
}

impl TemplateState {
    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Pulling => "pulling",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

impl std::fmt::Display for TemplateState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The kind of credentials a template has; they themselves are never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CredentialsKind {
    /// `basic`, `aws`, `gcp` or `azure`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// An image that a template had before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ServingImage {
    /// Where it came from.
    pub uri: String,
    /// Its manifest.
    pub digest: Digest,
}

/// A template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Template {
    /// Its id.
    pub id: TemplateId,
    /// Its name; `system/…` for ours.
    pub name: String,
    /// Its image: the manifest for this machine's platform, or, for ours, the root file system.
    pub digest: Digest,
    /// How the image's processes run.
    pub image_config: ImageConfig,
    /// Whether it is ours.
    pub is_system: bool,
    /// When it was created.
    #[cfg_attr(feature = "schema", schemars(with = "Time"))]
    pub created_at: String,
    /// When it was last changed.
    #[cfg_attr(feature = "schema", schemars(with = "Time"))]
    pub updated_at: String,
    /// Grows with each change of what new sandboxes get.
    pub version: u32,
    /// Who sees it.
    pub visibility: Visibility,
    /// Where its image comes from; absent for ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<ImageSourceText>"))]
    pub uri: Option<String>,
    /// What it has for its registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsKind>,
    /// Where it stands.
    pub state: TemplateState,
    /// How far the pull is, while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<PullProgress>,
    /// Why the image cannot be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<PullFailure>,
    /// The image sandboxes are made from until the new one is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingImage>,
    /// What its sandboxes get.
    #[serde(flatten)]
    pub spec: TemplateSpec,
}

/// `POST /v1/template`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateTemplate {
    /// What its team calls it; unique there. Where a public or system template has the name too, the team's own is meant.
    #[cfg_attr(feature = "schema", schemars(with = "OwnTemplateName"))]
    pub name: String,
    /// Where its image comes from: a registry's reference, `oci:PATH[:TAG]` or `docker-archive:FILE`.
    #[cfg_attr(feature = "schema", schemars(with = "ImageSourceText"))]
    pub uri: String,
    /// What its registry wants to see. Kept encrypted, and never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<RegistryCredentials>,
    /// Who sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    /// What its sandboxes get.
    #[serde(flatten)]
    pub spec: TemplateSpec,
}

/// `PATCH /v1/template/{id}`. What is absent stays as it is; what is `null` is as if it had never been given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatchTemplate {
    /// Another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<OwnTemplateName>"))]
    pub name: Option<String>,
    /// Another image, or the same source looked at again. The old one serves until it is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<ImageSourceText>"))]
    pub uri: Option<String>,
    /// Other credentials; they are tried at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<RegistryCredentials>,
    /// Who sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    /// What its sandboxes get.
    #[serde(flatten)]
    pub spec: TemplateSpec,
}

/// `POST /v1/template/system`, for operators: build one of the templates we ship the recipe of.
/// The answer is a stream of [`crate::node::BuildEvent`] lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuildSystemTemplate {
    /// Its name, `system/` included.
    #[cfg_attr(feature = "schema", schemars(with = "TemplateName"))]
    pub name: String,
    /// Whether it is refused, instead of built of other packages than its lock names, where a mirror has moved on. Absent:
    /// it is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
}

/// `POST /v1/templates/prune`, for operators.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PruneTemplates {
    /// Say what would go, and let it be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// What was used within so many seconds stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<IdleSeconds>"))]
    pub idle_seconds: Option<u32>,
}

/// `GET /v1/templates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateList {
    /// All that the team may use, by name.
    pub items: Vec<Template>,
    /// How many there are.
    pub total_items: u64,
}

/// What can be asked of templates.
pub mod limits {
    use std::ops::RangeInclusive;

    /// What the names of ours begin with, and no others.
    pub const SYSTEM_PREFIX: &str = "system/";
    /// A command line that is started with a sandbox, in bytes.
    pub const START_CMD_BYTES_MAX: usize = 64 * 1024;
    /// One secret of credentials, in bytes.
    pub const SECRET_BYTES_MAX: usize = 64 * 1024;
    /// Sandboxes of a pool.
    pub const POOL: RangeInclusive<u32> = 0..=1000;
    /// How long what is pruned has not been used, in seconds.
    pub const IDLE_SECONDS: RangeInclusive<u32> = 0..=31_536_000;
}

/// What is used where nobody says.
pub mod defaults {
    /// How long what is pruned has not been used, in seconds.
    pub const IDLE_SECONDS: u32 = 60 * 60;
}
