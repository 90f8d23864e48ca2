//! A store of snapshots that tests may do anything to.

use std::fs;
use std::path::{Path, PathBuf};

use artifact::snapshot::{Error, KeyRing, Place, Root, Settings, Snapshots, Stored};
use tempfile::TempDir;

use crate::tree::{self, facts};

/// A store, and room for directories.
pub struct Yard {
    dir: PathBuf,
    /// Held, not used: removes the directory.
    _dir: Option<TempDir>,
}

/// A key file's line.
pub fn key(id: &str, byte: u8) -> String {
    format!("{id} {}\n", format!("{byte:02x}").repeat(32))
}

impl Yard {
    /// One on a disk.
    pub fn disk() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir: dir.path().to_owned(), _dir: Some(dir) }
    }

    /// One on a disk that another process has made.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir, _dir: None }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.dir
    }

    /// A path for a directory of the test's.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join("work").join(name)
    }

    pub fn place(&self) -> Place {
        Place::Disk(self.dir.join("store"))
    }

    /// The store, as a process finds it that begins now.
    pub fn open(&self) -> Snapshots {
        self.open_with(&key("first", 1)).unwrap()
    }

    /// The same with the keys of this key file.
    pub fn open_with(&self, keys: &str) -> Result<Snapshots, Error> {
        Snapshots::open(&Settings { place: self.place(), keys: KeyRing::parse(keys).unwrap() })
    }

    /// Stores a directory of these chunks.
    pub fn store(&self, snapshots: &Snapshots, name: &str, chunks: &[Option<u64>]) -> Stored {
        let dir = self.path(name);
        tree::write(&dir, chunks);
        snapshots.store(&dir, &facts(name)).unwrap()
    }

    /// Whether the directory of this name comes back.
    pub fn comes_back(&self, snapshots: &Snapshots, root: &Root, name: &str) -> Result<bool, Error> {
        let back = tempfile::tempdir_in(&self.dir).unwrap();
        snapshots.fetch(root, back.path())?;
        Ok(tree::is_same(&self.path(name), back.path()))
    }

    /// The names of all objects in this directory of the store.
    pub fn objects(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.object(dir)).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(|entry| format!("{dir}/{}", name(entry))).collect();
        names.sort();
        names
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.object(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.object(name), bytes).unwrap();
    }

    pub fn delete(&self, name: &str) {
        fs::remove_file(self.object(name)).unwrap();
    }

    /// Takes all of it away.
    pub fn lose(&self) {
        fs::rename(self.dir.join("store"), self.dir.join("gone")).unwrap();
    }

    fn object(&self, name: &str) -> PathBuf {
        self.dir.join("store").join(Path::new(name))
    }
}
