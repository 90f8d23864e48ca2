//! A store of snapshots that tests may do anything to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use artifact::snapshot::{
    AGE_MIN, Collect, Collected, Error, KeyRing, Place, Root, Settings, Snapshots, Stored,
};
use tempfile::TempDir;
use testkit::s3::S3;
use tokio::runtime::{Builder, Runtime};

use crate::tree::{self, facts};

/// A store, and room for directories.
pub struct Yard {
    dir: PathBuf,
    /// Where the store is, if it is not in the directory.
    bucket: Option<Served>,
    /// Held, not used: removes the directory.
    _dir: Option<TempDir>,
}

/// A bucket, and the threads that serve it.
struct Served {
    s3: S3,
    _runtime: Runtime,
}

/// What names of objects begin with in a bucket.
const PREFIX: &str = "a/prefix";

/// A key file's line.
pub fn key(id: &str, byte: u8) -> String {
    format!("{id} {}\n", format!("{byte:02x}").repeat(32))
}

impl Yard {
    /// One on a disk.
    pub fn disk() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir: dir.path().to_owned(), bucket: None, _dir: Some(dir) }
    }

    /// One in a bucket.
    pub fn bucket() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let s3 = runtime.block_on(S3::start());
        Self { bucket: Some(Served { s3, _runtime: runtime }), ..Self::disk() }
    }

    /// The bucket.
    pub fn s3(&self) -> &S3 {
        &self.bucket.as_ref().expect("it is one in a bucket").s3
    }

    /// One on a disk that another process has made.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir, bucket: None, _dir: None }
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
        match &self.bucket {
            Some(served) => Place::Bucket(Box::new(served.s3.settings(PREFIX))),
            None => Place::Disk(self.dir.join("store")),
        }
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

    /// Takes away what is not among these and has not been touched for an hour.
    pub fn collect(&self, snapshots: &Snapshots, live: &[Root], dry_run: bool) -> Collected {
        let live = live.iter().copied().collect::<BTreeSet<_>>();
        snapshots.collect(&Collect { live: &live, age_min: AGE_MIN, dry_run }).unwrap()
    }

    /// The names of all objects in this directory of the store.
    pub fn objects(&self, dir: &str) -> Vec<String> {
        if let Some(Served { s3, .. }) = &self.bucket {
            let name = |key: &String| key.strip_prefix(PREFIX).unwrap().trim_start_matches('/').to_owned();
            return s3.objects(&format!("{PREFIX}/{dir}/")).iter().map(name).collect();
        }
        let entries = fs::read_dir(self.object(dir)).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(|entry| format!("{dir}/{}", name(entry))).collect();
        names.sort();
        names
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        match &self.bucket {
            Some(served) => served.s3.read(&key_of(name)).into(),
            None => fs::read(self.object(name)).unwrap(),
        }
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        match &self.bucket {
            Some(served) => served.s3.write(&key_of(name), bytes.to_vec()),
            None => fs::write(self.object(name), bytes).unwrap(),
        }
    }

    pub fn delete(&self, name: &str) {
        match &self.bucket {
            Some(served) => served.s3.delete(&key_of(name)),
            None => fs::remove_file(self.object(name)).unwrap(),
        }
    }

    /// Makes all that is in this directory of the store so much older.
    pub fn age(&self, dir: &str, by: Duration) {
        if let Some(served) = &self.bucket {
            return served.s3.age(&format!("{PREFIX}/{dir}/"), by);
        }
        for name in self.objects(dir) {
            // It may go while this is at it.
            if let Ok(file) = fs::File::open(self.object(&name)) {
                file.set_modified(SystemTime::now() - by).unwrap();
            }
        }
    }

    /// Takes all of it away.
    pub fn lose(&self) {
        match &self.bucket {
            Some(served) => served.s3.lose_bucket(true),
            None => fs::rename(self.dir.join("store"), self.dir.join("gone")).unwrap(),
        }
    }

    fn object(&self, name: &str) -> PathBuf {
        self.dir.join("store").join(Path::new(name))
    }
}

fn key_of(name: &str) -> String {
    format!("{PREFIX}/{name}")
}
