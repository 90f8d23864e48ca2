//! Snapshots: directories that an engine wrote, kept as manifests over content-addressed chunks.
//!
//! ```text
//! format                   the version of this drawing, "1"
//! keys/<n>, keys/<n>-copy  a data key, wrapped with a key of the operator's        see keys
//! packs/<batch>-<n>        sealed chunks, one after another; written by one store  see chunk
//! manifests/<root>         a snapshot: its facts, and where its chunks are         see manifest
//! intents/<root>           a manifest that is about to count                       see commit
//! doomed/<batch>-<n>       a pack that is about to be removed                      see commit
//! tmp/<random>             on a disk: what has no name yet                         see collect
//! ```
//!
//! A snapshot is there when its manifest is, which comes last. So a crash at any moment leaves a whole snapshot, or packs
//! that no manifest counts on, which a collection finds. Everything but `format` is sealed: who has the store and not the
//! keys learns sizes and times, and can change nothing unnoticed.
//!
//! All of it blocks: to be called where file work may be done.
//!
//! ```no_run
//! # fn story(keys: &str, facts: artifact::snapshot::Facts) -> Result<(), Box<dyn std::error::Error>> {
//! use artifact::snapshot::{KeyRing, Place, Settings, Snapshots};
//! let settings = Settings { place: Place::Disk("/var/lib/atoll/snapshots".into()), keys: KeyRing::parse(keys)? };
//! let snapshots = Snapshots::open(&settings)?;
//! let stored = snapshots.store("checkpoint".as_ref(), &facts)?;
//! assert_eq!(snapshots.facts(&stored.root)?, facts);
//! snapshots.fetch(&stored.root, "another".as_ref())?;
//! # Ok(())
//! # }
//! ```

mod chunk;
mod collect;
mod commit;
mod error;
mod extents;
mod facts;
mod fetch;
mod index;
mod keyring;
mod keys;
mod manifest;
mod objects;
mod repack;
mod round;
mod seal;
mod store;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;
use std::time::SystemTime;

pub use chunk::CHUNK_BYTES;
pub use collect::{AGE_MIN, Collect, Collected, Gone, GoneKind};
pub use error::{Error, Result};
pub use facts::{Facts, InvalidRoot, Root};
pub use keyring::KeyRing;
pub use objects::{BucketSettings, PATIENCE};
pub use store::Stored;

use self::index::Index;
use self::keys::DataKeys;
use self::manifest::Manifest;
use self::objects::{Bucket, Disk, FORMAT_FILE, Kind, Listed, Objects, Put};

/// The version of the layout this build reads and writes.
pub const FORMAT: &str = "1";
/// Threads that name, compress and seal for one store, at most. Each holds a chunk, and one that is packed.
const WORKERS_MAX: usize = 4;

/// How often a fetch begins anew because what it read was moved meanwhile.
const FETCH_TRIES_MAX: u32 = 3;

/// Where snapshots are kept, and the operator's keys.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where.
    pub place: Place,
    /// The first seals, all open.
    pub keys: KeyRing,
}

/// Where snapshots are kept.
#[derive(Debug, Clone)]
pub enum Place {
    /// A directory of this machine, which is made if it is not there.
    Disk(PathBuf),
    /// A bucket, which may be shared by nodes that have the same keys.
    Bucket(Box<BucketSettings>),
}

/// A snapshot that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub root: Root,
    /// Bytes of its manifest.
    pub manifest_bytes: u64,
    /// When it was stored, by the clock of who keeps it.
    pub stored_at: SystemTime,
}

/// The snapshots of one store. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Snapshots(Arc<Shared>);

struct Shared {
    objects: Objects,
    keys: DataKeys,
    index: Index,
    /// Held by a collection: one at a time.
    collecting: Mutex<()>,
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshots").field(&self.0.objects.place()).finish()
    }
}

impl Snapshots {
    /// The snapshots that are kept there.
    ///
    /// # Errors
    /// When the place cannot be used, has another layout, or is sealed with keys that the ring does not have.
    pub fn open(settings: &Settings) -> Result<Self> {
        let objects = match &settings.place {
            Place::Disk(dir) => Objects::Disk(Disk::open(dir)?),
            Place::Bucket(settings) => Objects::Bucket(Bucket::open(settings)?),
        };
        check_format(&objects)?;
        let keys = DataKeys::open(&objects, &settings.keys)?;
        let shared = Shared { objects, keys, index: Index::default(), collecting: Mutex::default() };
        shared.learn()?;
        Ok(Self(Arc::new(shared)))
    }

    /// Stores every file of a directory, with these facts. It is there to stay when this returns; whatever this is
    /// interrupted at, all of it is, or nothing that counts. The files are read where they are, holes not at all.
    ///
    /// # Errors
    /// When the directory has something else than files, or the store cannot take it.
    pub fn store(&self, dir: &Path, facts: &Facts) -> Result<Stored> {
        store::store(&self.0, dir, facts)
    }

    /// What a snapshot knows of itself; its manifest alone is read for it, and is whole.
    ///
    /// # Errors
    /// When it is not there, or damaged.
    pub fn facts(&self, root: &Root) -> Result<Facts> {
        Ok(self.0.manifest(root)?.facts)
    }

    /// Brings every file back, byte for byte and holes as holes, into a directory that has none of them yet. All was
    /// verified when this returns; where it fails, none of them is left. Not synced: they are here to be read at once.
    ///
    /// # Errors
    /// When any part of it is missing or damaged, with what and how.
    pub fn fetch(&self, root: &Root, into: &Path) -> Result<()> {
        let mut manifest = self.0.manifest(root)?;
        for _ in 1..FETCH_TRIES_MAX {
            let fetched = fetch::fetch(&self.0, root, &manifest, into);
            let Err(Error::Missing { .. }) = fetched else { return fetched };
            // A collection may have moved what is missing.
            let now = self.0.manifest(root)?;
            if now == manifest {
                return fetched;
            }
            manifest = now;
        }
        fetch::fetch(&self.0, root, &manifest, into)
    }

    /// The snapshots there are, by name. Only their names are read: whether they are whole is not.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let listed = self.0.objects.list(Kind::Manifests)?;
        let mut entries: Vec<_> = listed.iter().filter_map(entry).collect();
        entries.sort_by_key(|entry| entry.root);
        Ok(entries)
    }

    /// Takes a snapshot away; one that is gone is good. Its chunks go with the next collection, where no other has them.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub fn remove(&self, root: &Root) -> Result<()> {
        self.0.objects.delete(Kind::Manifests, &root.to_string())
    }

    /// Takes away what nobody needs: snapshots that are not among the live ones, chunks that no snapshot has which is
    /// left, and what was begun and given up. Stores and fetches may go on meanwhile. One process at a time collects.
    ///
    /// # Errors
    /// When the store cannot be asked; what went is gone, and the rest is for another time.
    pub fn collect(&self, how: &Collect<'_>) -> Result<Collected> {
        collect::collect(&self.0, how)
    }

    /// Makes the operator's old keys unnecessary: what they sealed is sealed anew with the first of the ring, and what
    /// is stored from then on with a key they never sealed. Cheap, whatever there is. How many objects that took; none
    /// if all was well. Nodes that share a store get the new key before one of them does this.
    ///
    /// # Errors
    /// When the store refuses; the old keys are still needed then.
    pub fn rewrap(&self) -> Result<usize> {
        self.0.keys.rewrap(&self.0.objects)
    }
}

impl Shared {
    fn manifest(&self, root: &Root) -> Result<Manifest> {
        match self.objects.get(Kind::Manifests, &root.to_string())? {
            Some(bytes) => Manifest::open(&self.objects, &self.keys, root, bytes),
            None => Err(Error::NotFound { root: *root, place: self.objects.place().to_owned() }),
        }
    }

    /// Remembers the chunks of the newest snapshots, so that they are not stored again.
    fn learn(&self) -> Result<()> {
        let mut listed = self.objects.list(Kind::Manifests)?;
        listed.sort_by_key(|listed| std::cmp::Reverse(listed.modified));
        let newest = listed.iter().filter_map(entry).take(self.objects.learnt_max());
        for Entry { root, .. } in newest {
            if self.index.is_full() {
                break;
            }
            match self.manifest(&root) {
                Ok(manifest) => self.index.learn(&manifest),
                // Who asks for it is told.
                Err(Error::Damaged { .. } | Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn entry(listed: &Listed) -> Option<Entry> {
    let root = listed.name.parse().ok()?;
    Some(Entry { root, manifest_bytes: listed.bytes, stored_at: listed.modified })
}

fn check_format(objects: &Objects) -> Result<()> {
    let found = match objects.get(Kind::Top, FORMAT_FILE)? {
        Some(found) => found,
        None => {
            objects.put(Kind::Top, FORMAT_FILE, format!("{FORMAT}\n").into_bytes(), Put::New)?;
            objects.get(Kind::Top, FORMAT_FILE)?.unwrap_or_default()
        }
    };
    let found = String::from_utf8_lossy(&found).trim().to_owned();
    if found == FORMAT {
        return Ok(());
    }
    Err(Error::Layout { place: objects.place().to_owned(), found, ours: FORMAT })
}

/// Threads for what keeps a CPU busy.
fn workers() -> usize {
    available_parallelism().map_or(1, usize::from).clamp(1, WORKERS_MAX)
}
