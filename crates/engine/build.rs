//! Builds the agent, so that it can be embedded: [`agent::BYTES`](../src/agent.rs).
//!
//! The agent is another build than the engine: static, small, its own profile.
//! A nested cargo with its own target directory makes it from the same workspace
//! and lock file; what the outer cargo tells this script through the environment
//! is for the engine and is not passed on.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const BINARY: &str = "atoll-agent";
const PROFILE: &str = "guest";

/// Variables the nested cargo must not see: they configure the outer compilation.
const OUTER_NAMES: [&str; 12] = [
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "OUT_DIR",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "TARGET",
];
/// The same, by how they begin.
const OUTER_PREFIXES: [&str; 6] =
    ["CARGO_CFG_", "CARGO_FEATURE_", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_PROFILE_", "DEP_"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace =
        manifest_dir.ancestors().nth(2).ok_or("the engine is not two levels below the workspace")?;
    for input in ["crates/agent", "crates/wire", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    let built = build(workspace)?;
    let embedded = PathBuf::from(variable("OUT_DIR")?).join(BINARY);
    std::fs::copy(&built, &embedded)
        .map_err(|error| format!("copying {} to {}: {error}", built.display(), embedded.display()))?;
    Ok(())
}

/// Builds the agent for the engine's own target and returns where it is.
fn build(workspace: &Path) -> Result<PathBuf, String> {
    let target = variable("TARGET")?.into_string().map_err(|_| "TARGET is not text")?;
    let target_dir = workspace.join("target/agent");
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.args(["build", "--locked", "--package", "agent", "--bin", BINARY, "--profile", PROFILE]);
    cargo.args(["--target", &target]).arg("--target-dir").arg(&target_dir).current_dir(workspace);
    for (name, _) in env::vars_os() {
        if is_outer(&name) {
            cargo.env_remove(name);
        }
    }
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    let status = cargo.status().map_err(|error| format!("starting {cargo:?}: {error}"))?;
    if !status.success() {
        return Err(format!("building the agent failed ({status}): {cargo:?}"));
    }
    Ok(target_dir.join(target).join(PROFILE).join(BINARY))
}

fn is_outer(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    OUTER_NAMES.contains(&name) || OUTER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("cargo did not set {name}"))
}
