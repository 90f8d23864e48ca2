//! Sees that something changed ([`wire::changes`]).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use wire::changes::{COUNTER_BYTES, offset};
use wire::id::SandboxId;

/// See the module.
#[derive(Debug, Default)]
pub struct Changes {
    path: Option<PathBuf>,
    /// Opened when it is there: control goes on with it when it is started again.
    file: OnceLock<File>,
}

/// A sandbox's counter, as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen(u64);

impl Changes {
    /// Those that control writes down here, if it does so anywhere.
    pub fn at(path: Option<PathBuf>) -> Self {
        Self { path, file: OnceLock::new() }
    }

    /// The same, seen for itself.
    pub fn beside(&self) -> Self {
        Self::at(self.path.clone())
    }

    /// What the counter of this sandbox is now; `None` where nobody can tell, and all has to be asked.
    pub fn seen(&self, sandbox: &SandboxId) -> Option<Seen> {
        let mut counter = [0; COUNTER_BYTES];
        self.file()?.read_exact_at(&mut counter, offset(sandbox)).ok()?;
        Some(Seen(u64::from_le_bytes(counter)))
    }

    fn file(&self) -> Option<&File> {
        match self.file.get() {
            Some(file) => Some(file),
            None => self.open().ok(),
        }
    }

    fn open(&self) -> io::Result<&File> {
        let path = self.path.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let file = File::open(path)?;
        Ok(self.file.get_or_init(|| file))
    }
}
