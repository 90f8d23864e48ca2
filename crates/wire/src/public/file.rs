//! Files in a sandbox.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::schema::Path;

/// What to read of a file: all of it, a range of its bytes, or lines at one of its ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadFile {
    /// Which.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub path: String,
    /// The first byte, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How many bytes, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// So many lines from its beginning. Not together with any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<u64>,
    /// So many lines from its end. Not together with any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u64>,
}
