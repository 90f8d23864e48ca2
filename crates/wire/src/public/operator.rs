//! What only operators ask, and what anybody may ask of the server itself.

use serde::{Deserialize, Serialize};

use crate::node::{Leak, NodeReport};

/// `GET /v1/nodes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeList {
    /// Every node of the fleet.
    pub items: Vec<NodeStatus>,
}

/// One node, as control sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeStatus {
    /// Where it listens.
    pub address: String,
    /// Whether it answers.
    pub reachable: bool,
    /// What it said last, if it ever said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<NodeReport>,
}

/// `GET /v1/leaks`: resources on the nodes' hosts whose sandbox is gone. Must be empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LeakList {
    /// All of them.
    pub items: Vec<Leak>,
}

/// `GET /healthz` and `GET /readyz`; the latter with status 503 when `ok` is false.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Health {
    /// Whether all is well.
    pub ok: bool,
    /// What is not, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}
