//! What is to be certified, by whom, and how it is proven.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that is the operator's to say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// The authority's directory, a URL of `https`.
    pub directory: String,
    /// The address of e-mail that the authority may write to.
    pub contact: Option<String>,
    /// Who signs the directory's own certificate, in PEM; `None`: whom this machine believes.
    pub signers: Option<String>,
    /// What the certificate is for, and every name right below it.
    pub domain: String,
    /// Where everything is kept. It is there, and nobody else's.
    pub dir: PathBuf,
    /// How records come into the DNS.
    pub dns: Dns,
    /// How long it takes until everybody sees them, in seconds.
    pub wait_seconds: u32,
}

/// How records come into the DNS.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Dns {
    /// By updates (RFC 2136) that are signed (RFC 8945).
    Update(Update),
    /// By a program, which is called as `PROGRAM present|cleanup NAME VALUE`.
    Hook(PathBuf),
}

/// Who takes updates, and what they are signed with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Update {
    /// A name or an address, `:`, and a port.
    pub server: String,
    /// The zone that is updated.
    pub zone: String,
    /// The key, as the server knows it.
    pub key_name: String,
    /// The key itself, in base64, for HMAC-SHA256.
    pub key: Secret,
}

/// A text that is not shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
