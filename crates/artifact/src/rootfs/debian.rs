//! A recipe's directory, made by `mmdebstrap`.
//!
//! Packages' own scripts run as root, so they run confined: in mount, PID, IPC
//! and UTS namespaces of the build, without the capabilities a root file system
//! is not made with, with a time limit, and dead when we are. They share the
//! host's network, because that is where packages come from.
//!
//! **The same packages** are taken as long as the mirror has them: apt is told the
//! versions of the lock, checks each file against its index, and what the index
//! says of all that was installed comes back with the tree. What can still differ
//! between two builds is the mirror's address, which is in `sources.list`. Times,
//! logs, caches, machine id, the order of directories and Python's compiled files
//! do not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{apt, tree};
use crate::blocking::blocking;
use crate::lock::Lock;
use crate::program::Program;
use crate::recipe::Recipe;
use crate::{Error, Result, durable};

/// Time for a build. A slow mirror is most of it.
const BUILD_BOUND: Duration = Duration::from_secs(20 * 60);

/// What making a root file system takes: owners, modes, device files, `chroot` and mounts of its own.
const CAPABILITIES: &str = "-all,+chown,+dac_override,+dac_read_search,+fowner,+fsetid,+kill,+setgid,+setuid,\
                            +setpcap,+setfcap,+mknod,+sys_chroot,+sys_admin,+audit_write";

/// Runs inside the namespaces. The build directory becomes `/tmp`: whatever the build writes is in it, and
/// its scripts need not pass through the node's directories to get there.
const ENTER: &str = r#"mount --bind "$0" /tmp && exec "$@""#;

/// Has apt prefer the packages of the lock while the tree is made.
const PREFER: &str = r#"--setup-hook=cp /tmp/preferences "$1/etc/apt/preferences.d/lock""#;
/// Notes what apt knows of each package that is installed, and forgets about the lock.
const NOTE: &str = r#"#!/bin/sh
set -eu
rm "$1/etc/apt/preferences.d/lock"
chroot "$1" dpkg-query --show --showformat '${binary:Package}=${Version}\n' > /tmp/installed
APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" xargs --arg-file /tmp/installed apt-cache show --no-all-versions > /tmp/packages
"#;

/// What came of a recipe.
pub(crate) struct Made {
    /// The directory.
    pub directory: PathBuf,
    /// The packages it is made of.
    pub packages: Lock,
}

/// Carries the recipe out in `build_dir`, which must exist. The directory it makes is below `build_dir`.
///
/// # Errors
/// When mmdebstrap is missing, fails or takes too long, or apt knows no mirror.
pub(crate) async fn build(recipe: &Recipe, build_dir: &Path, progress: &impl Fn(String)) -> Result<Made> {
    let sources = apt::sources_list(recipe).await?;
    for source in &sources {
        progress(format!("source: {source}"));
    }
    let scratch = build_dir.join("scratch");
    prepare(&scratch, recipe)?;
    mmdebstrap(recipe, &scratch, &sources)?
        .run(|line| progress(line.strip_prefix("I: ").unwrap_or(line).to_owned()))
        .await?;
    let directory = scratch.join("root");
    let (files, tree) = (recipe.files.clone(), directory.clone());
    blocking("write the recipe's files", move || {
        files.iter().try_for_each(|(path, content)| tree::write_file(&tree, path, content))
    })
    .await?;
    let noted = scratch.join("packages");
    let noted = fs::read_to_string(&noted).map_err(Error::io("read", &noted))?;
    Ok(Made { directory, packages: Lock::shown(&noted) })
}

/// The directory that will be the build's `/tmp`, with our scripts and apt's preferences in it.
fn prepare(scratch: &Path, recipe: &Recipe) -> Result<()> {
    durable::make_dir(scratch)?;
    let preferences = recipe.lock.preferences();
    let files = [
        ("setup", recipe.setup_script(), 0o755),
        ("note", NOTE, 0o755),
        ("preferences", preferences.as_str(), 0o644),
    ];
    for (name, content, mode) in files {
        let file = scratch.join(name);
        fs::write(&file, content).map_err(Error::io("write", &file))?;
        set_mode(&file, mode)?;
    }
    set_mode(scratch, 0o1777)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::io("set the mode of", path))
}

fn mmdebstrap(recipe: &Recipe, scratch: &Path, sources: &[String]) -> Result<Program> {
    let excludes = recipe.path_exclude.iter().map(|path| format!("--dpkgopt=path-exclude={path}"));
    let includes = recipe.path_include.iter().map(|path| format!("--dpkgopt=path-include={path}"));
    Ok(Program::new("mmdebstrap", "mmdebstrap", BUILD_BOUND)?
        .env("SOURCE_DATE_EPOCH", recipe.source_date_epoch.to_string())
        .args(["--bounding-set", CAPABILITIES])
        .args(["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", ENTER])
        .args([scratch])
        .args(["mmdebstrap", "--mode=unshare", "--format=directory", "--variant=minbase"])
        .args([format!("--include={}", recipe.packages.join(","))])
        .args(excludes.chain(includes))
        .args([
            PREFER,
            "--customize-hook=/tmp/note \"$1\"",
            "--customize-hook=/tmp/setup \"$1\"",
            &recipe.suite,
            "/tmp/root",
        ])
        .args(sources))
}
