//! API keys.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::schema::{KeySeconds, Name, Scopes, Time};
use crate::id::{KeyId, TeamId};

/// What a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The fleet: nodes, leaks, metrics, system templates, and every team and its keys.
    Operator,
    /// The objects of one team.
    Team,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 2] = [Scope::Operator, Scope::Team];

    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Operator => "operator",
            Scope::Team => "team",
        }
    }
}

/// A key to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateKey {
    /// What people call it.
    #[cfg_attr(feature = "schema", schemars(with = "Name"))]
    pub name: String,
    /// What it opens. Absent: its team's objects. Only operators can give the scope `operator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Scopes>"))]
    pub scopes: Option<Vec<Scope>>,
    /// Seconds until it opens nothing any more. Absent: it never expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<KeySeconds>"))]
    pub expires_in: Option<u32>,
    /// Whose it is, for operators. Absent: of the team of the key that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamId>,
}

/// A key, without what opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Key {
    /// Its id, which opens nothing.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// Whose it is.
    pub team: TeamId,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// When it was made.
    #[cfg_attr(feature = "schema", schemars(with = "Time"))]
    pub created_at: String,
    /// From when on it opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Time>"))]
    pub expires_at: Option<String>,
    /// When it was last used, to the minute. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Time>"))]
    pub last_used_at: Option<String>,
}

/// A key that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreatedKey {
    /// What opens. It is shown here and never again.
    pub key: String,
    /// All else about it.
    #[serde(flatten)]
    pub shown: Key,
}

/// A list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeyList {
    /// One page of them, oldest first.
    pub items: Vec<Key>,
    /// How many there are before paging.
    pub total_items: u64,
}

/// What can be asked of keys.
pub mod limits {
    use std::ops::RangeInclusive;

    /// Characters of a name.
    pub const NAME_CHARS: RangeInclusive<usize> = 1..=64;
    /// Life of a key that expires, in seconds: ten years at most.
    pub const EXPIRES_IN_SECONDS: RangeInclusive<u32> = 1..=315_360_000;
}
