//! The disk, drawn, and directories that are in use for as long as somebody holds their lock.
//!
//! ```text
//! target/tcg/
//!   lock                  held while a machine is looked for or built
//!   machines/<key>/       vmlinuz, initrd, root.ext4; the key is the recipe's. Locked, shared, by its users
//!   drafts/<pid>-<n>/     a machine being built; renamed when it is whole
//!   runs/<pid>-<n>/       one run: job.ext4, the kernel's console, QEMU's complaints, the status channel
//! ```
//!
//! A lock dies with its holder, however that ends, and [`sweep`] removes what nobody holds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

/// A directory of our own. Removed when dropped, with all that is in it.
#[derive(Debug)]
pub(super) struct Lease {
    path: PathBuf,
    /// Held, not used.
    _lock: File,
}

impl Lease {
    /// A new directory in `parent`, which is made if need be.
    pub(super) fn new(parent: &Path) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{}-{number}", std::process::id()));
            // A name that is taken was left by a process that had our number.
            if fs::create_dir(&path).is_err_and(|error| error.kind() != std::io::ErrorKind::AlreadyExists) {
                anyhow::bail!("cannot create {}", path.display());
            }
            let Ok(lock) = File::open(&path) else { continue };
            // Between the two a sweep may have removed it.
            if lock.try_lock().is_ok() && path.exists() {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What cannot be removed now is swept by a later run; one that was renamed is not here any more.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the directories in `parent` that nobody holds a lock of.
pub(super) fn sweep(parent: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(parent) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let Ok(dir) = File::open(&path) else { continue };
        if dir.try_lock().is_ok() {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_takes_what_nobody_holds_and_a_drop_takes_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lease::new(dir.path()).unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir_all(dir.path().join("left/behind")).unwrap();
        fs::create_dir(&shared).unwrap();
        let user = File::open(&shared).unwrap();
        user.lock_shared().unwrap();

        sweep(dir.path()).unwrap();
        assert!(held.path().exists() && shared.exists() && !dir.path().join("left").exists());

        let path = held.path().to_owned();
        drop((held, user));
        assert!(!path.exists());
        sweep(dir.path()).unwrap();
        assert!(!shared.exists());
    }
}
