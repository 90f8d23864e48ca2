//! Teams: who owns sandboxes and keys, and how much of the fleet each may have.

use serde::{Deserialize, Serialize};

use super::key::Key;
#[cfg(feature = "schema")]
use super::schema::{LimitOfKeys, LimitOfRequests, LimitOnAmount, Name, Time};
use crate::id::TeamId;

/// How much a team may have at once, and how fast it may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TeamLimits {
    /// Sandboxes that are not gone.
    pub sandboxes: u32,
    /// Their virtual CPUs.
    pub vcpu: u32,
    /// Their memory, in MiB.
    pub memory_mib: u64,
    /// API keys, expired ones included.
    pub keys: u32,
    /// Templates of its own.
    #[serde(default = "defaults::templates")]
    pub templates: u32,
    /// Requests a second, on and on.
    pub requests_per_second: u32,
    /// Requests at once, after a pause.
    pub requests_burst: u32,
}

/// The limits that were set for one team. What is absent is the server's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("additionalProperties" = false)))]
pub struct OwnLimits {
    /// Sandboxes that are not gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<LimitOnAmount>"))]
    pub sandboxes: Option<u32>,
    /// Their virtual CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<LimitOnAmount>"))]
    pub vcpu: Option<u32>,
    /// Their memory, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<LimitOnAmount>"))]
    pub memory_mib: Option<u64>,
    /// API keys, expired ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<LimitOfKeys>"))]
    pub keys: Option<u32>,
    /// Templates of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<LimitOnAmount>"))]
    pub templates: Option<u32>,
    /// Requests a second, on and on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<LimitOfRequests>"))]
    pub requests_per_second: Option<u32>,
    /// Requests at once, after a pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<LimitOfRequests>"))]
    pub requests_burst: Option<u32>,
}

/// What a team has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TeamUse {
    /// Sandboxes that are not gone.
    pub sandboxes: u32,
    /// Their virtual CPUs.
    pub vcpu: u32,
    /// Their memory, in MiB.
    pub memory_mib: u64,
    /// API keys, expired ones included.
    pub keys: u32,
    /// Templates of its own.
    #[serde(default)]
    pub templates: u32,
}

/// A team to make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateTeam {
    /// What people call it; no two teams have the same name.
    #[cfg_attr(feature = "schema", schemars(with = "Name"))]
    pub name: String,
    /// Limits of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<OwnLimits>,
}

/// What to change of a team. What is absent stays as it is; a limit that is `null` becomes the server's default again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PutTeam {
    /// What people call it; no two teams have the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Name>"))]
    pub name: Option<String>,
    /// Limits of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<OwnLimits>,
}

/// A team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Team {
    /// Its id.
    pub id: TeamId,
    /// What people call it.
    pub name: String,
    /// What it may have: its own limits, and the server's defaults.
    pub limits: TeamLimits,
    /// What it has.
    #[serde(rename = "use")]
    pub used: TeamUse,
    /// When it was made.
    #[cfg_attr(feature = "schema", schemars(with = "Time"))]
    pub created_at: String,
}

/// A list of teams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TeamList {
    /// One page of them, by name.
    pub items: Vec<Team>,
    /// How many there are before paging.
    pub total_items: u64,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Me {
    /// The key that was sent.
    pub key: Key,
    /// Its team.
    pub team: Team,
}

/// What can be asked of teams.
pub mod limits {
    use std::ops::RangeInclusive;

    /// Characters of a name.
    pub const NAME_CHARS: RangeInclusive<usize> = 1..=64;
    /// A limit on sandboxes, virtual CPUs, MiB of memory, or templates. None at all is a limit too.
    pub const AMOUNT: RangeInclusive<u32> = 0..=1_000_000_000;
    /// A limit on keys.
    pub const KEYS: RangeInclusive<u32> = 1..=100;
    /// A limit on requests.
    pub const REQUESTS: RangeInclusive<u32> = 1..=1_000_000;
}

/// What is used where nobody says.
pub mod defaults {
    use super::TeamLimits;

    /// Room for anything one box can do; the contract's 100 keys and 25 templates.
    pub const LIMITS: TeamLimits = TeamLimits {
        sandboxes: 1000,
        vcpu: 8000,
        memory_mib: 8_192_000,
        keys: 100,
        templates: 25,
        requests_per_second: 1000,
        requests_burst: 2000,
    };

    pub(super) fn templates() -> u32 {
        LIMITS.templates
    }
}
