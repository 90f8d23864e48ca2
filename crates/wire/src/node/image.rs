//! Images on a node: made, fetched, and taken away.

use serde::{Deserialize, Serialize};

use super::BuiltImage;
use crate::image::{Digest, ImageConfig, RegistryCredentials};

/// An order for an image of somebody else's. One image is fetched once, however many ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullImage {
    /// An [`crate::image::ImageSource`], as text.
    pub source: String,
    /// What its registry wants to see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<RegistryCredentials>,
    /// Look at the manifest and the configuration, and fetch no layers: `Resolved` or `Failed` is then the last line. A
    /// node that does not know this goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resolve_only: bool,
}

/// A line of how a pull goes: `Resolved` once, `Progress` for as long as it lasts, and `Done` or `Failed`. The pull goes on
/// if nobody listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullEvent {
    /// Its manifest and configuration are here and verified; layers may not be.
    Resolved(ResolvedImage),
    /// So far it is.
    Progress(PullProgress),
    /// Sandboxes can start from it.
    Done(BuiltImage),
    /// They cannot, and will not.
    Failed(PullFailure),
}

/// What a source turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedImage {
    /// The manifest for this machine's platform.
    pub digest: Digest,
    /// How the image's processes run.
    pub config: ImageConfig,
    /// Its layers.
    pub layers: u32,
    /// All of them as they are stored, in bytes.
    pub layer_bytes: u64,
}

/// How far a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PullProgress {
    /// What is being done.
    pub phase: PullPhase,
    /// Bytes of layers that are here, as they are stored.
    pub bytes_done: u64,
    /// All of them.
    pub bytes_total: u64,
}

/// What a pull is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PullPhase {
    /// Layers come, and are unpacked as they do.
    Fetching,
    /// All are here; the root file system is being written.
    Packing,
}

/// Why a pull made no image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[error("{message}")]
pub struct PullFailure {
    /// What kind.
    pub code: PullFailureCode,
    /// For people: what, where, and what to do.
    pub message: String,
}

/// The kinds of failure of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PullFailureCode {
    /// The source is malformed, or of a kind or at a place this node was not told to take images from.
    Refused,
    /// There is no such image, or none for this machine's platform.
    NotFound,
    /// The registry does not accept the credentials, or wants some.
    Unauthorized,
    /// The registry cannot be reached, or broke off too often.
    Unreachable,
    /// What came is not an image, not the one that was asked for, or beyond a limit.
    InvalidImage,
    /// This node's disk is full.
    DiskFull,
    /// A fault of the node's own.
    Internal,
}

/// An order to take away what nobody needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneImages {
    /// Images that are needed, whatever the node itself knows. It adds those of its own sandboxes and pulls.
    pub keep: Vec<Digest>,
    /// What was used within so many seconds stays too: somebody may be about to need it.
    pub idle_seconds_min: u64,
    /// Say what would go, and let it be.
    pub dry_run: bool,
}

/// What went, or would go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pruned {
    /// Each thing, and why.
    pub items: Vec<PrunedItem>,
    /// All of them together, in bytes.
    pub bytes: u64,
}

/// A thing on a node's disk that nobody needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrunedItem {
    /// What it is.
    pub kind: PrunedKind,
    /// Its name.
    pub name: String,
    /// Its size on disk, in bytes.
    pub bytes: u64,
    /// Why it goes, for people.
    pub reason: String,
}

/// The kinds of thing that can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PrunedKind {
    /// A root file system.
    Image,
    /// A layer as its registry stores it.
    Layer,
    /// A layer that has come in part.
    PartialLayer,
    /// A snapshot.
    Snapshot,
    /// What only snapshots had that are gone.
    Chunks,
    /// What was begun for a snapshot and given up.
    Draft,
}
