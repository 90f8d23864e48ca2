//! Images, as the rest of the system names them.

mod credentials;
mod source;

use std::collections::BTreeMap;

pub use credentials::RegistryCredentials;
pub use source::{ImageSource, InvalidSource, Reference, SOURCE_CHARS_MAX};

use serde::{Deserialize, Serialize};

/// `sha256:` and 64 hexadecimal digits: the name of content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: expected `sha256:` and 64 lower-case hexadecimal digits")]
pub struct InvalidDigest;

impl Digest {
    /// The digest of these hash bytes.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("sha256:{hex}"))
    }

    /// The digest as text, `sha256:` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hexadecimal digits alone: fit for a file name.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

impl std::str::FromStr for Digest {
    type Err = InvalidDigest;
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let hex = text.strip_prefix("sha256:").ok_or(InvalidDigest)?;
        let well_formed =
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(InvalidDigest) }
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;
    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Digest {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" })
    }
}

/// The part of an OCI image configuration that decides how its processes run
/// (OCI image-spec, `config.md`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ImageConfig {
    /// `ENTRYPOINT`, absent when the image has none.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// `CMD`, absent when the image has none.
    #[serde(default)]
    pub cmd: Option<Vec<String>>,
    /// `WORKDIR`; empty means `/`.
    #[serde(default)]
    pub working_dir: String,
    /// `USER`: a name or number, optionally `:group`; empty means root.
    #[serde(default)]
    pub user: String,
    /// `ENV`.
    #[serde(default)]
    pub env: Option<BTreeMap<String, String>>,
    /// `STOPSIGNAL`, absent when the image names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}
