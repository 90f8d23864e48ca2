//! The files of a machine, in its checkpoint: by `tar`, which every host has.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::Error;

/// The file of a checkpoint that has them.
const FILES: &str = "files.tar";

/// Copies what is below `root` into a checkpoint.
pub(super) async fn pack(root: &Path, checkpoint: &Path) -> Result<(), Error> {
    let file = checkpoint.join(FILES);
    tar([OsStr::new("-cf"), file.as_os_str(), OsStr::new("-C"), root.as_os_str(), OsStr::new(".")]).await
}

/// Copies it back.
pub(super) async fn unpack(checkpoint: &Path, root: &Path) -> Result<(), Error> {
    let file = checkpoint.join(FILES);
    tar([OsStr::new("-xpf"), file.as_os_str(), OsStr::new("-C"), root.as_os_str()]).await
}

async fn tar<const N: usize>(arguments: [&OsStr; N]) -> Result<(), Error> {
    let ran = Command::new("tar").args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let ran = ran.map_err(Error::io("starting tar"))?;
    // Sockets are left out, and it says so.
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
    Err(Error::Program { program: "tar".into(), detail: format!("{}: {said}", ran.status) })
}
