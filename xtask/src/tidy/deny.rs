//! `deny.toml`, as far as we check it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The file, from the root of the tree.
pub const FILE: &str = "deny.toml";

#[derive(Debug, Default, Deserialize)]
pub struct Deny {
    pub licenses: Licenses,
    pub bans: Bans,
}

#[derive(Debug, Default, Deserialize)]
pub struct Licenses {
    /// SPDX names, with `WITH` where they have an exception.
    pub allow: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Bans {
    /// Crates nothing may depend on.
    pub deny: Vec<Entry>,
    /// Versions that may be there besides another.
    pub skip: Vec<Entry>,
}

/// A crate, and why it is listed. Nothing is listed without a reason.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    /// `name`, or `name@` and the front of a version.
    #[serde(rename = "crate")]
    pub spec: String,
    pub reason: String,
}

impl Entry {
    /// Whether it means this version of this crate.
    pub fn matches(&self, name: &str, version: &str) -> bool {
        let Some((wanted, front)) = self.spec.split_once('@') else { return self.spec == name };
        let rest = version.strip_prefix(front);
        wanted == name && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

pub fn read(root: &Path) -> Result<Deny> {
    let text = fs::read_to_string(root.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
    toml::from_str(&text).with_context(|| format!("{FILE} is malformed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_means_a_crate_or_the_front_of_a_version() {
        let matches =
            |spec: &str, version| Entry { spec: spec.into(), reason: String::new() }.matches("syn", version);
        assert!(matches("syn", "2.0.1") && matches("syn@2", "2.0.1") && matches("syn@2.0.1", "2.0.1"));
        assert!(
            !matches("syn@2", "20.0.1") && !matches("synstructure", "2.0.1") && !matches("syn@3", "2.0.1")
        );
    }

    #[test]
    fn an_entry_without_a_reason_is_malformed() {
        let text = |entry| format!("[licenses]\nallow = []\n[bans]\ndeny = []\nskip = [{entry}]\n");
        assert!(toml::from_str::<Deny>(&text("{ crate = \"syn@2\", reason = \"sqlx\" }")).is_ok());
        assert!(toml::from_str::<Deny>(&text("{ crate = \"syn@2\" }")).is_err());
    }
}
