//! What a snapshot knows of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wire::image::Digest;
use wire::sandbox::Resources;

/// What has to be known before anything is started from a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The engine that wrote it.
    pub engine: String,
    /// The version of that engine.
    pub engine_version: String,
    /// The flags it ran with, of which others cannot read what it wrote.
    pub engine_flags: Vec<String>,
    /// What the CPU could do that its programs may have come to count on.
    pub cpu_features: Vec<String>,
    /// The image it was made from.
    pub image: Digest,
    /// What it may use.
    pub resources: Resources,
    /// What its agent speaks.
    pub agent_generation: u32,
    /// Wall-clock milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// The sandbox it was.
    pub sandbox: String,
    /// Whatever else the caller needs to know; what a later build adds is kept here by an earlier one.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}

/// The name of a snapshot: a keyed hash of its facts, of what its files contain, and of a random number. Tells nothing of
/// them to who does not have the key, is another if anything in it is, and is never made twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Root(pub(super) [u8; 32]);

/// A text that is no name of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a snapshot: expected 64 hexadecimal digits in lower case")]
pub struct InvalidRoot;

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({self})")
    }
}

impl FromStr for Root {
    type Err = InvalidRoot;

    fn from_str(text: &str) -> Result<Self, InvalidRoot> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidRoot)?;
        let root = Self(bytes);
        if root.to_string() == text { Ok(root) } else { Err(InvalidRoot) }
    }
}

impl TryFrom<String> for Root {
    type Error = InvalidRoot;

    fn try_from(text: String) -> Result<Self, InvalidRoot> {
        text.parse()
    }
}

impl From<Root> for String {
    fn from(root: Root) -> Self {
        root.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_its_text_and_no_other_text_is_one() {
        let root = Root([0xab; 32]);
        assert_eq!(root.to_string().parse(), Ok(root));
        for text in ["", "ab", &"AB".repeat(32), &"ag".repeat(32), &"ab".repeat(33)] {
            assert_eq!(text.parse::<Root>(), Err(InvalidRoot), "{text}");
        }
    }
}
