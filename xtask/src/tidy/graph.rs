//! Every crate we link, as cargo resolves it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What we build for. Crates of other systems are neither fetched nor checked.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A crate.
#[derive(Debug, Clone, Default)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// SPDX expression.
    pub license: Option<String>,
    /// False for crates of this workspace.
    pub is_foreign: bool,
    /// Crates it names in its manifest.
    pub dependencies: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

#[derive(Deserialize)]
struct RawPackage {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
}

pub fn read(root: &Path) -> Result<Vec<Package>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET])
        .current_dir(root)
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata is not what it was")?;
    Ok(resolved(metadata))
}

fn resolved(metadata: Metadata) -> Vec<Package> {
    let linked: BTreeSet<String> = metadata.resolve.nodes.into_iter().map(|node| node.id).collect();
    let packages = metadata.packages.into_iter().filter(|package| linked.contains(&package.id));
    packages
        .map(|package| Package {
            name: package.name,
            version: package.version,
            license: package.license,
            is_foreign: package.source.is_some(),
            dependencies: package.dependencies.into_iter().map(|dependency| dependency.name).collect(),
        })
        .collect()
}
