//! Snapshots, as control and a node speak of them.

use serde::{Deserialize, Serialize};

use crate::snapshot::Root;

/// A snapshot of a sandbox that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeSnapshot {
    /// Whether the sandbox ends with it: then nothing happens inside that is not in the snapshot.
    pub ends: bool,
}

/// A snapshot that is there to stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenSnapshot {
    /// Its name among us.
    pub root: Root,
    /// Its memory and files, in bytes.
    pub bytes: u64,
}

/// The snapshot that a new sandbox goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Which.
    pub snapshot: Root,
    /// Whether it is one of several copies of a sandbox that goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_fork: bool,
}

/// An order to take away what nobody needs of snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneSnapshots {
    /// Snapshots that are needed. The node adds those of its own sandboxes.
    pub keep: Vec<Root>,
    /// What was stored within so many seconds stays too: control may not have heard of it yet.
    pub age_seconds_min: u64,
    /// Say what would go, and let it be.
    pub dry_run: bool,
}
