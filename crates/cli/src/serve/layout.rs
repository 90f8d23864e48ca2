//! Where `atoll serve` keeps things, drawn.
//!
//! ```text
//! D/                       --data-dir, root's, but others may pass through
//!   lock                   held while a server runs on D
//!   instance               8 characters that name this installation on the host
//!   api-key                the first API key, 0600
//!   tls/
//!     ca.pem               whom clients of the ingress are to believe, unless the operator has a certificate
//!     ca.key               its key, root's alone
//!     ingress.pem ingress.key   what is served; the key is the ingress's to read
//!   acme/                  one directory an authority and domain, of the user who has certificates issued (`acme::Keeper`)
//!   control/               the service user's: the store, the pepper of key hashes, keys of secrets
//!   node/                  root's, 0700
//!     id                   the node's id
//!     lock                 held while a node works here
//!     records/             one JSON file a sandbox
//!     snapshots/           what sandboxes were that are paused, and snapshots of them, sealed
//!     snapshot-keys        what that is sealed with, unless the operator has keys
//!     plain/               what is being written there or read from there, as the engine knows it
//!     images/              one directory an image
//!     engine/              disks and bundles of machines
//! R/                       /run/atoll/<instance>: short, and gone after a reboot
//!   node.sock              where control meets the node; the service user's group may
//!   ports.sock             where the node lends the ingress connections; the ingress's group may
//!   ingress/control.sock   where the ingress meets control
//!   ingress/changes        where it sees that what it was allowed may be over
//!   node.json control.json ingress.json acme.json   what each is told at its start
//!   engine/                the engine's sockets, namespaces and state
//! ```

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wire::id::NodeId;

use crate::entropy;

/// The longest run directory: Unix socket paths end at 107 bytes.
const RUN_DIR_BYTES_MAX: usize = 60;

/// Where things are.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The data directory.
    pub data: PathBuf,
    /// The run directory.
    pub run: PathBuf,
    /// What names this installation on the host.
    pub instance: String,
}

impl Layout {
    /// Opens a data directory, making it if there is none.
    ///
    /// # Errors
    /// When it cannot be made, or its run directory's path is too long.
    pub fn open(data: &Path, run_base: &Path) -> Result<Self> {
        make_dir(data, 0o711)?;
        make_dir(&data.join("node"), 0o700)?;
        let instance = read_or_make(&data.join("instance"), 0o644, new_instance)?;
        let run = run_base.join(&instance);
        if run.as_os_str().len() > RUN_DIR_BYTES_MAX {
            bail!(
                "{} is longer than {RUN_DIR_BYTES_MAX} bytes, and sockets below it would not work",
                run.display()
            );
        }
        make_dir(run_base, 0o711)?;
        make_dir(&run, 0o711)?;
        Ok(Self { data: data.to_owned(), run, instance })
    }

    /// Where control meets the node.
    pub fn node_socket(&self) -> PathBuf {
        self.run.join("node.sock")
    }

    /// What control is told at its start.
    pub fn control_orders(&self) -> PathBuf {
        self.run.join("control.json")
    }

    /// What the node is told at its start.
    pub fn node_orders(&self) -> PathBuf {
        self.run.join("node.json")
    }

    /// Where the node lends the ingress connections.
    pub fn ports_socket(&self) -> PathBuf {
        self.run.join("ports.sock")
    }

    /// The directory that control and the ingress alone can enter.
    pub fn ingress_dir(&self) -> PathBuf {
        self.run.join("ingress")
    }

    /// Where the ingress meets control.
    pub fn ingress_socket(&self) -> PathBuf {
        self.ingress_dir().join("control.sock")
    }

    /// Where the ingress sees that something changed.
    pub fn changes(&self) -> PathBuf {
        self.ingress_dir().join("changes")
    }

    /// What the ingress is told at its start.
    pub fn ingress_orders(&self) -> PathBuf {
        self.run.join("ingress.json")
    }

    /// What the process that has certificates issued is told at its start.
    pub fn acme_orders(&self) -> PathBuf {
        self.run.join("acme.json")
    }

    /// What was issued, for each authority and domain.
    pub fn acme_dir(&self) -> PathBuf {
        self.data.join("acme")
    }

    /// What the ingress proves itself with.
    pub fn tls_dir(&self) -> PathBuf {
        self.data.join("tls")
    }

    /// The chain of certificates that the ingress proves itself with.
    pub fn ingress_chain(&self) -> PathBuf {
        self.tls_dir().join("ingress.pem")
    }

    /// The engine's sockets, namespaces and state.
    pub fn engine_run_dir(&self) -> PathBuf {
        self.run.join("engine")
    }

    /// Control's own directory.
    pub fn control_dir(&self) -> PathBuf {
        self.data.join("control")
    }

    /// A part of the node's own directory.
    pub fn node_dir(&self, part: &str) -> PathBuf {
        self.data.join("node").join(part)
    }

    /// The file of the first API key.
    pub fn api_key(&self) -> PathBuf {
        self.data.join("api-key")
    }

    /// Takes the data directory for this process, as long as the file lives.
    ///
    /// # Errors
    /// When another server has it.
    pub fn lock(&self) -> Result<File> {
        let path = self.data.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another server runs on {}; stop it, or give this one a --data-dir of its own",
                    self.data.display()
                )
            }
            Err(TryLockError::Error(error)) => Err(error).context("the lock of the data directory"),
        }
    }

    /// Removes what only a running server needs; what machines that go on need stays.
    pub fn tidy(&self) {
        let sockets = [self.node_socket(), self.ports_socket(), self.ingress_socket(), self.changes()];
        let orders = [self.control_orders(), self.node_orders(), self.ingress_orders(), self.acme_orders()];
        sockets.iter().chain(&orders).for_each(|file| drop(fs::remove_file(file)));
        // Neither goes while there is something in it.
        [self.engine_run_dir(), self.ingress_dir(), self.run.clone()]
            .iter()
            .for_each(|dir| drop(fs::remove_dir(dir)));
    }

    /// The node's id.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub fn node_id(&self) -> Result<NodeId> {
        let text = read_or_make(&self.node_dir("id"), 0o644, || {
            Ok(NodeId::from_entropy(entropy::bytes()?).to_string())
        })?;
        Ok(text.parse()?)
    }
}

/// Makes a directory with this mode; one that is there keeps its mode.
///
/// # Errors
/// When it cannot be made.
pub fn make_dir(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).with_context(|| format!("the directory {} cannot be made", path.display()))?;
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

/// Reads a small file, or makes it, whole, with what `make` says.
///
/// # Errors
/// When it can be neither read nor made.
pub fn read_or_make(path: &Path, mode: u32, make: impl FnOnce() -> Result<String>) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = make()?;
            let temporary = path.with_extension("new");
            let mut file =
                OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&temporary)?;
            writeln!(file, "{text}")?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            Ok(text)
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn new_instance() -> Result<String> {
    let bytes: [u8; 20] = entropy::bytes()?;
    let id = NodeId::from_entropy(bytes).to_string();
    Ok(id.trim_start_matches("node-")[..8].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_keeps_its_name_and_is_run_by_one_server() {
        let dir = tempfile::tempdir().unwrap();
        let first = Layout::open(&dir.path().join("data"), &dir.path().join("run")).unwrap();
        let second = Layout::open(&dir.path().join("data"), &dir.path().join("run")).unwrap();
        assert_eq!(
            (&first.instance, first.node_id().unwrap()),
            (&second.instance, second.node_id().unwrap())
        );
        let held = first.lock().unwrap();
        assert!(second.lock().unwrap_err().to_string().contains("another server"));
        drop(held);
        second.lock().unwrap();
    }
}
