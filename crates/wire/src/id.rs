//! Typed identifiers.
//!
//! An id is a kind's prefix, a dash, and [`SUFFIX_CHARS`] characters of an
//! alphabet of lower-case letters and digits: a DNS label, unguessable
//! (100 bits), of one fixed length. The dash appears once, so that
//! `sbx-…-3000` can only mean a sandbox and a port.

use serde::{Deserialize, Serialize};

/// Letters and digits that are hard to confuse: no `l`, `o`, `0`, `1`. Exactly 32, five bits each.
pub const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Characters after the dash.
pub const SUFFIX_CHARS: usize = 20;

/// Random bytes an id is made from.
pub const ENTROPY_BYTES: usize = SUFFIX_CHARS;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind} id: expected `{kind}-` and {SUFFIX_CHARS} lower-case letters or digits")]
pub struct InvalidId {
    kind: &'static str,
}

fn parse_suffix<'a>(text: &'a str, prefix: &'static str) -> Result<&'a str, InvalidId> {
    let invalid = InvalidId { kind: prefix };
    let suffix = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')).ok_or(invalid.clone())?;
    let well_formed = suffix.len() == SUFFIX_CHARS && suffix.bytes().all(|b| ALPHABET.contains(&b));
    if well_formed { Ok(suffix) } else { Err(invalid) }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What ids of this kind start with, without the dash.
            pub const PREFIX: &'static str = $prefix;

            /// The id these random bytes stand for.
            pub fn from_entropy(entropy: [u8; ENTROPY_BYTES]) -> Self {
                let suffix = entropy.map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
                Self(format!("{}-{}", $prefix, String::from_iter(suffix)))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_suffix(text, $prefix).map(|_| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                crate::public::schema::id($prefix)
            }
        }
    )*};
}

ids! {
    /// One sandbox, from its create to its last record.
    SandboxId = "sbx";
    /// One template: a name, an image and defaults.
    TemplateId = "tpl";
    /// One team: the owner of sandboxes, templates and keys.
    TeamId = "team";
    /// One API key. Not the key itself.
    KeyId = "key";
    /// One process of a sandbox that outlives its connection, where its starter chose no other id.
    ProcessId = "prc";
    /// One terminal, where its maker chose no other id.
    PtyId = "pty";
    /// One presigned URL. Not its token.
    PresignedUrlId = "psu";
    /// One snapshot of a sandbox, that its team has a name for.
    SnapshotId = "snp";
    /// One node: a host that runs sandboxes.
    NodeId = "node";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_a_dns_label_with_one_dash() {
        let id = SandboxId::from_entropy([7; ENTROPY_BYTES]);
        assert_eq!(id.as_str(), "sbx-hhhhhhhhhhhhhhhhhhhh");
        assert_eq!(id.as_str().matches('-').count(), 1);
    }

    #[test]
    fn ids_of_another_kind_or_shape_are_refused() {
        for text in [
            "",
            "sbx",
            "sbx-",
            "tpl-hhhhhhhhhhhhhhhhhhhh",
            "sbx-HHHHHHHHHHHHHHHHHHHH",
            "sbx-hhhh-3000",
            "sbx-../../etc/passwd12",
        ] {
            assert!(text.parse::<SandboxId>().is_err(), "{text:?} was taken for a sandbox id");
        }
    }

    proptest! {
        #[test]
        fn every_id_survives_text(entropy: [u8; ENTROPY_BYTES]) {
            let id = SandboxId::from_entropy(entropy);
            prop_assert_eq!(id.as_str().parse::<SandboxId>().unwrap(), id);
        }
    }
}
