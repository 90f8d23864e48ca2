//! Presigned URLs: each opens one port of one sandbox to whoever has it, until it expires.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::schema::{PortNumber, PresignedSeconds, Time};
use crate::id::{PresignedUrlId, SandboxId};

/// A URL to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreatePresignedUrl {
    /// The port it opens.
    #[cfg_attr(feature = "schema", schemars(with = "PortNumber"))]
    pub port: u16,
    /// Seconds until it opens nothing any more. Absent: an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<PresignedSeconds>"))]
    pub expires_in: Option<u32>,
}

/// A URL, without what opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PresignedUrl {
    /// Its id, which opens nothing.
    pub id: PresignedUrlId,
    /// Whose port it opens.
    pub sandbox_id: SandboxId,
    /// The port.
    #[cfg_attr(feature = "schema", schemars(with = "PortNumber"))]
    pub port: u16,
    /// From when on it opens nothing.
    #[cfg_attr(feature = "schema", schemars(with = "Time"))]
    pub expires_at: String,
    /// When it was made.
    #[cfg_attr(feature = "schema", schemars(with = "Time"))]
    pub created_at: String,
}

/// A URL that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreatedPresignedUrl {
    /// What opens. It is shown here and never again.
    pub token: String,
    /// Where it opens: the token is in its name.
    pub url: String,
    /// All else about it.
    #[serde(flatten)]
    pub shown: PresignedUrl,
}

/// The URLs of a sandbox that have not expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PresignedUrlList {
    /// All of them, oldest first.
    pub items: Vec<PresignedUrl>,
    /// How many there are.
    pub total_items: u64,
}

/// What can be asked of presigned URLs.
pub mod limits {
    use std::ops::RangeInclusive;

    /// Life of a URL, in seconds: thirty days at most.
    pub const EXPIRES_IN_SECONDS: RangeInclusive<u32> = 1..=2_592_000;
    /// URLs of one sandbox that have not expired.
    pub const PRESIGNED_URLS_MAX: u32 = 100;
}

/// What is used where a user leaves a value out.
pub mod defaults {
    /// Life of a URL, in seconds.
    pub const EXPIRES_IN_SECONDS: u32 = 3600;
}
