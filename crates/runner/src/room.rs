//! Room on the node's own disk: so much is kept for what ends sandboxes, and for what those that run still write.

use std::io;
use std::path::PathBuf;

use rustix::fs::statvfs;
use wire::node::{NodeError, NodeErrorCode};

/// Bytes of a MiB.
const MIB: u64 = 1024 * 1024;

/// A disk with less room than this is as good as full, whatever is to be kept free.
const FULL_MIB: u64 = 16;

/// The disk of the node's directory.
#[derive(Debug, Clone)]
pub struct Room {
    dir: PathBuf,
    reserve_mib: u64,
}

impl Room {
    /// The disk that `dir` is on, of which `reserve_mib` are kept free.
    pub fn new(dir: PathBuf, reserve_mib: u64) -> Self {
        Self { dir, reserve_mib }
    }

    /// What is free, in MiB.
    ///
    /// # Errors
    /// When the disk does not say.
    pub fn free_mib(&self) -> io::Result<u64> {
        let system = statvfs(&self.dir)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize) / MIB)
    }

    /// Whether one more sandbox may write here.
    ///
    /// # Errors
    /// [`NodeErrorCode::StorageFull`], saying how much is free.
    pub fn check(&self) -> Result<(), NodeError> {
        match self.free_mib() {
            Ok(free_mib) if free_mib < self.reserve_mib => {
                Err(NodeError::new(NodeErrorCode::StorageFull, self.told(free_mib)))
            }
            // One that does not say is found out by writing.
            _ => Ok(()),
        }
    }

    /// Whether so much more may be written here at once.
    ///
    /// # Errors
    /// [`NodeErrorCode::StorageFull`], saying how much is free.
    pub fn check_bytes(&self, bytes: u64) -> Result<(), NodeError> {
        let wanted_mib = bytes.div_ceil(MIB);
        match self.free_mib() {
            Ok(free_mib) if free_mib < self.reserve_mib.saturating_add(wanted_mib) => {
                let message =
                    format!("up to {wanted_mib} MiB are to be written, and {}", self.told(free_mib));
                Err(NodeError::new(NodeErrorCode::StorageFull, message))
            }
            _ => Ok(()),
        }
    }

    /// That the disk is full or nearly so, for people; `None` if it is not.
    pub fn shortage(&self) -> Option<String> {
        let free_mib = self.free_mib().ok()?;
        (free_mib < self.reserve_mib.max(FULL_MIB)).then(|| self.told(free_mib))
    }

    fn told(&self, free_mib: u64) -> String {
        format!(
            "the disk of {} has {free_mib} MiB free and {} MiB are kept for what must be written; delete sandboxes, or \
             have an operator make room there, and ask again",
            self.dir.display(),
            self.reserve_mib
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_place_what_is_free_and_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Room::new(dir.path().to_owned(), 0).check(), Ok(()));
        assert_eq!(Room::new(dir.path().to_owned(), 0).check_bytes(1), Ok(()));
        let much = Room::new(dir.path().to_owned(), 0).check_bytes(u64::MAX).unwrap_err();
        assert_eq!(much.code, NodeErrorCode::StorageFull);
        let refusal = Room::new(dir.path().to_owned(), u64::MAX).check().unwrap_err();
        assert_eq!(refusal.code, NodeErrorCode::StorageFull);
        for part in [dir.path().to_str().unwrap(), "MiB free", &u64::MAX.to_string()] {
            assert!(refusal.message.contains(part), "{}", refusal.message);
        }
    }
}
