//! Says that something changed to whoever was allowed something ([`wire::changes`]).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use wire::changes::{COUNTER_BYTES, COUNTERS, FILE_BYTES, offset};
use wire::id::SandboxId;

use crate::error::{Error, Result};

/// See the module.
#[derive(Default)]
pub struct Changes {
    /// None: whoever was allowed something asks each time.
    file: Option<File>,
    /// The last value that was written.
    last: AtomicU64,
}

impl Changes {
    /// In this file, which goes on where it was: who reads it need not open it again when we are started again.
    ///
    /// # Errors
    /// [`Error::Start`] when it can be neither read nor written.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |error| Error::start(format!("cannot keep changes in {}", path.display()), error);
        // Its directory says who may read it.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let file = options.open(path).map_err(failed)?;
        let last = AtomicU64::new(greatest(&file).map_err(failed)?);
        let changes = Self { file: Some(file), last };
        // Whatever became of the store meanwhile.
        changes.write_to_all().map_err(failed)?;
        Ok(changes)
    }

    /// To be taken before something of a sandbox is changed, and dropped when it is in the store, or may be.
    #[must_use = "it is noted when this is dropped"]
    pub fn of(&self, sandbox: &SandboxId) -> Noted<'_> {
        Noted { changes: self, offset: Some(offset(sandbox)) }
    }

    /// The same for what concerns many.
    #[must_use = "it is noted when this is dropped"]
    pub fn of_all(&self) -> Noted<'_> {
        Noted { changes: self, offset: None }
    }

    fn write(&self, offset: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.write_all_at(&self.next().to_le_bytes(), offset)
    }

    fn write_to_all(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.write_all_at(&self.next().to_le_bytes().repeat(COUNTERS), 0)
    }

    fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// A change that is under way. Dropped however its maker ends, also one who is not waited for any more.
pub struct Noted<'a> {
    changes: &'a Changes,
    offset: Option<u64>,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        let written = match self.offset {
            Some(offset) => self.changes.write(offset),
            None => self.changes.write_to_all(),
        };
        if let Err(error) = written {
            tracing::error!(%error, "what changed is seen only when it is asked for again, a second later");
        }
    }
}

fn greatest(file: &File) -> io::Result<u64> {
    let mut bytes = vec![0; FILE_BYTES];
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(FILE_BYTES).min(FILE_BYTES);
    file.read_exact_at(&mut bytes[..length], 0)?;
    let counters = bytes.as_chunks::<COUNTER_BYTES>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    Ok(counters.max().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(path: &Path, sandbox: &SandboxId) -> u64 {
        let mut bytes = [0; COUNTER_BYTES];
        File::open(path).unwrap().read_exact_at(&mut bytes, offset(sandbox)).unwrap();
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn a_counter_never_has_a_value_twice_and_what_concerns_one_leaves_others_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("changes");
        let (one, other) = (SandboxId::from_entropy([1; 20]), SandboxId::from_entropy([2; 20]));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..2 {
            let changes = Changes::open(&path).unwrap();
            assert!(seen.insert(counter(&path, &one)), "another start is a change");
            let before = counter(&path, &other);
            drop(changes.of(&one));
            assert!(seen.insert(counter(&path, &one)));
            assert_eq!(counter(&path, &other), before);
            drop(changes.of_all());
            assert!(seen.insert(counter(&path, &one)));
            assert_ne!(counter(&path, &other), before);
        }
    }
}
