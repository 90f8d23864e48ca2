//! What became of sandboxes.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::schema::{EventNumber, Time};
use crate::id::SandboxId;
use crate::sandbox::{Reason, State};

/// A sandbox entered a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SandboxEvent {
    /// Greater than that of every event before it, and in a stream the SSE id. Between two there may be others' events.
    #[cfg_attr(feature = "schema", schemars(with = "EventNumber"))]
    pub id: u64,
    /// Which sandbox.
    pub sandbox_id: SandboxId,
    /// What it became.
    pub state: State,
    /// When.
    #[cfg_attr(feature = "schema", schemars(with = "Time"))]
    pub at: String,
    /// Why it ends or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What was seen that says so: a signal, the last words of the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_detail: Option<String>,
}

/// A part of the events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventList {
    /// Oldest first.
    pub items: Vec<SandboxEvent>,
    /// What to send as `after` to go on.
    #[cfg_attr(feature = "schema", schemars(with = "EventNumber"))]
    pub next: u64,
}
