//! A layer that is not all there yet.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};
use wire::image::Digest;

use crate::{Error, Result, durable};

/// Bytes hashed at a time when what an earlier process fetched is read again.
const CHUNK_BYTES: usize = 1 << 20;

/// The beginning of a layer, and the state of its hash. Locked for as long as this lives.
#[derive(Debug)]
pub(super) struct Partial {
    file: Arc<File>,
    path: PathBuf,
    hash: Sha256,
    length: u64,
}

impl Partial {
    /// Opens what is there, and hashes it again: nothing says that the disk has kept it. Waits for whoever holds it.
    pub(super) fn open(path: &Path, size_bytes: u64) -> Result<Self> {
        loop {
            let opened = File::options().create(true).truncate(false).read(true).write(true).open(path);
            let file = opened.map_err(Error::io("open", path))?;
            flock(&file, FlockOperation::LockExclusive)
                .map_err(|error| Error::io("lock", path)(error.into()))?;
            // Whoever held it may have given it its name, or taken it away.
            if is_at(&file, path).map_err(Error::io("look at", path))? {
                let mut partial =
                    Self { file: Arc::new(file), path: path.to_owned(), hash: Sha256::new(), length: 0 };
                partial.read_again(size_bytes)?;
                return Ok(partial);
            }
        }
    }

    fn read_again(&mut self, size_bytes: u64) -> Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let failed = Error::io("read", &self.path);
        let mut read = || -> io::Result<()> {
            loop {
                match (&*self.file).read(&mut chunk)? {
                    0 => return Ok(()),
                    length => {
                        self.hash.update(&chunk[..length]);
                        self.length += length as u64;
                    }
                }
            }
        };
        read().map_err(failed)?;
        if self.length > size_bytes { self.clear() } else { Ok(()) }
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) -> Result<()> {
        let clear = || {
            self.file.set_len(0)?;
            (&*self.file).seek(SeekFrom::Start(0)).map(drop)
        };
        clear().map_err(Error::io("clear", &self.path))?;
        (self.hash, self.length) = (Sha256::new(), 0);
        Ok(())
    }

    /// Adds what came next.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(bytes)?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Its file, which others may read.
    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::from_sha256(self.hash.clone().finalize().into())
    }

    /// Gives it its name, once the disk has all of it.
    pub(super) fn install(&self, dir: &Path, name: &str) -> Result<()> {
        self.file.sync_all().map_err(Error::io("sync", &self.path))?;
        durable::rename_into(&self.path, dir, name)
    }

    /// Takes it away.
    pub(super) fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a part of a layer could not be removed");
        }
    }
}

/// Whether this file is what the path names.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::registry::digest_of;

    #[test]
    fn what_an_earlier_process_left_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("partial");
        Partial::open(&path, 6).unwrap().append(b"abc").unwrap();
        let mut again = Partial::open(&path, 6).unwrap();
        assert_eq!(again.length(), 3);
        again.append(b"def").unwrap();
        assert_eq!(again.digest(), digest_of(b"abcdef"));
        again.install(dir.path(), "whole").unwrap();
        assert_eq!(fs::read(dir.path().join("whole")).unwrap(), b"abcdef");
        assert!(!path.exists());
    }

    #[test]
    fn more_than_there_should_be_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("partial");
        fs::write(&path, b"abcdefg").unwrap();
        let mut partial = Partial::open(&path, 6).unwrap();
        assert_eq!(partial.length(), 0);
        partial.append(b"xyz").unwrap();
        assert_eq!((fs::read(&path).unwrap(), partial.digest()), (b"xyz".to_vec(), digest_of(b"xyz")));
    }

    #[test]
    fn who_waited_for_one_that_got_its_name_begins_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("partial");
        let mut first = Partial::open(&path, 6).unwrap();
        first.append(b"abc").unwrap();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || Partial::open(&path, 6).unwrap().length()
        });
        first.install(dir.path(), "whole").unwrap();
        drop(first);
        assert_eq!(waiting.join().unwrap(), 0);
    }
}
