//! Small files that nobody else reads, and that are whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::trouble::Trouble;

/// Puts a text there: all of it, or what was there before.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Trouble> {
    let put = || {
        let temporary = path.with_extension("new");
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    put().map_err(|error: std::io::Error| Trouble::new(format!("writing {}", path.display()), error))
}

/// Puts a value there, in JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Trouble> {
    let text = serde_json::to_string(value);
    write(path, &text.map_err(|error| Trouble::new(format!("writing {}", path.display()), error))?)
}

/// What is there in JSON, if anything is.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Trouble> {
    let doing = || format!("reading {}", path.display());
    match fs::read(path) {
        Ok(bytes) => {
            let read = serde_json::from_slice(&bytes);
            read.map(Some).map_err(|error| Trouble::new(doing(), error))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Trouble::new(doing(), error)),
    }
}

/// Removes what may be there.
pub(crate) fn remove(path: &Path) -> Result<(), Trouble> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Trouble::new(format!("removing {}", path.display()), error))
        }
        _ => Ok(()),
    }
}
