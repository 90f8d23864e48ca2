//! Where snapshots are kept: a directory of this machine, or a bucket. Both keep the same objects under the same names.

mod bucket;
mod disk;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use super::error::Result;

pub(super) use bucket::Bucket;
use bucket::BucketPacks;
pub use bucket::{BucketSettings, PATIENCE};
pub(super) use disk::Disk;
use disk::{DiskPacks, Draft};

/// Says which layout a store has; see [`Kind::Top`].
pub(super) const FORMAT_FILE: &str = "format";

/// The kinds of objects, each of which has a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What is there once.
    Top,
    /// Data keys, wrapped.
    Keys,
    /// Chunks, one after another.
    Packs,
    /// Snapshots.
    Manifests,
    /// Manifests of stores that are about to be done.
    Intents,
    /// Packs that are about to be removed.
    Doomed,
    /// On a disk, what is being written and has no name yet.
    Drafts,
}

impl Kind {
    /// Its directory, with the slash after it.
    pub(super) fn dir(self) -> &'static str {
        match self {
            Self::Top => "",
            Self::Keys => "keys/",
            Self::Packs => "packs/",
            Self::Manifests => "manifests/",
            Self::Intents => "intents/",
            Self::Doomed => "doomed/",
            Self::Drafts => "tmp/",
        }
    }
}

/// How an object is put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// In place of what is there.
    Over,
    /// Only where nothing is.
    New,
    /// In place of what is there, and no matter if a power failure takes it along with whoever put it there.
    Passing,
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub name: String,
    pub bytes: u64,
    pub modified: SystemTime,
}

/// The name of a pack: the store that wrote it, and which of its packs it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PackName {
    pub batch: u128,
    pub number: u32,
}

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{}", self.batch, self.number)
    }
}

impl FromStr for PackName {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (batch, number) = text.split_once('-').ok_or(())?;
        let batch = u128::from_str_radix(batch, 16).map_err(|_| ())?;
        let name = Self { batch, number: number.parse().map_err(|_| ())? };
        if name.to_string() == text { Ok(name) } else { Err(()) }
    }
}

/// What came of reading a part of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it is in the buffer.
    Whole,
    /// The pack ends before it does.
    Short,
    /// There is no such pack.
    Missing,
}

/// What is to be an object.
pub(super) enum Staged {
    Draft(Draft),
    Bytes(Vec<u8>),
}

/// The objects of one store.
pub(super) enum Objects {
    Disk(Disk),
    Bucket(Bucket),
}

impl Objects {
    /// What the store is called in errors.
    pub(super) fn place(&self) -> &str {
        match self {
            Self::Disk(disk) => disk.place(),
            Self::Bucket(bucket) => bucket.place(),
        }
    }

    /// All of an object, if it is there.
    pub(super) fn get(&self, kind: Kind, name: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Disk(disk) => disk.get(kind, name),
            Self::Bucket(bucket) => bucket.get(kind, name),
        }
    }

    /// Puts an object there. Whether it is there now: with [`Put::New`], another may have been.
    pub(super) fn put(&self, kind: Kind, name: &str, bytes: Vec<u8>, how: Put) -> Result<bool> {
        match self {
            Self::Disk(disk) => disk.put(kind, name, &bytes, how),
            Self::Bucket(bucket) => bucket.put(kind, name, bytes, how),
        }
    }

    /// Writes what is to be an object, so that little is left to do for [`Objects::publish`].
    pub(super) fn stage(&self, bytes: Vec<u8>) -> Result<Staged> {
        match self {
            Self::Disk(disk) => disk.stage(&bytes).map(Staged::Draft),
            Self::Bucket(_) => Ok(Staged::Bytes(bytes)),
        }
    }

    /// Makes an object of what was staged, in place of what is there.
    pub(super) fn publish(&self, staged: Staged, kind: Kind, name: &str) -> Result<()> {
        match (self, staged) {
            (Self::Disk(disk), Staged::Draft(draft)) => disk.publish(&draft, kind, name),
            (_, Staged::Bytes(bytes)) => self.put(kind, name, bytes, Put::Over).map(drop),
            (Self::Bucket(_), Staged::Draft(_)) => Ok(()),
        }
    }

    /// Those of these packs that are not there.
    pub(super) fn lacking(&self, packs: &BTreeSet<PackName>) -> Result<Vec<PackName>> {
        match self {
            Self::Disk(disk) => disk.lacking(packs),
            Self::Bucket(bucket) => bucket.lacking(packs),
        }
    }

    /// Takes an object away; one that is gone is good.
    pub(super) fn delete(&self, kind: Kind, name: &str) -> Result<()> {
        match self {
            Self::Disk(disk) => disk.delete(kind, name),
            Self::Bucket(bucket) => bucket.delete(kind, name),
        }
    }

    /// The objects of a kind.
    pub(super) fn list(&self, kind: Kind) -> Result<Vec<Listed>> {
        match self {
            Self::Disk(disk) => disk.list(kind),
            Self::Bucket(bucket) => bucket.list(kind),
        }
    }

    /// Reads a part of a pack.
    pub(super) fn read(&self, pack: PackName, offset: u64, buffer: &mut [u8]) -> Result<Part> {
        match self {
            Self::Disk(disk) => disk.read(pack, offset, buffer),
            Self::Bucket(bucket) => bucket.read(pack, offset, buffer),
        }
    }

    /// Begins the packs of a store.
    pub(super) fn packs(&self, batch: u128) -> Packs<'_> {
        match self {
            Self::Disk(disk) => Packs::Disk(disk.packs(batch)),
            Self::Bucket(bucket) => Packs::Bucket(bucket.packs(batch)),
        }
    }

    /// How many parts of packs are read at once.
    pub(super) fn readers(&self) -> usize {
        match self {
            Self::Disk(_) => super::workers(),
            Self::Bucket(_) => bucket::READERS,
        }
    }

    /// How many manifests are read at the start.
    pub(super) fn learnt_max(&self) -> usize {
        match self {
            Self::Disk(_) => disk::LEARNT_MAX,
            Self::Bucket(_) => bucket::LEARNT_MAX,
        }
    }

    /// Bytes that are read at once where chunks lie beside each other.
    pub(super) fn part_bytes_max(&self) -> usize {
        match self {
            Self::Disk(_) => disk::PART_BYTES_MAX,
            Self::Bucket(_) => bucket::PART_BYTES_MAX,
        }
    }
}

/// Packs being written by several threads.
pub(super) enum Packs<'a> {
    Disk(DiskPacks<'a>),
    Bucket(BucketPacks<'a>),
}

impl Packs<'_> {
    /// Adds a sealed chunk. Where it is.
    pub(super) fn append(&self, sealed: &[u8]) -> Result<(PackName, u32)> {
        match self {
            Self::Disk(packs) => packs.append(sealed),
            Self::Bucket(packs) => packs.append(sealed),
        }
    }

    /// Works along on what was added, until [`Packs::close`].
    pub(super) fn work_along(&self) {
        match self {
            Self::Disk(packs) => packs.flush_along(),
            Self::Bucket(_) => {}
        }
    }

    /// Nothing is added any more.
    pub(super) fn close(&self) {
        match self {
            Self::Disk(packs) => packs.close(),
            Self::Bucket(_) => {}
        }
    }

    /// Waits until all is there to stay. How many bytes it is.
    pub(super) fn finish(&self) -> Result<u64> {
        match self {
            Self::Disk(packs) => packs.finish(),
            Self::Bucket(packs) => packs.finish(),
        }
    }

    /// Takes away what was written.
    pub(super) fn abandon(&self) {
        match self {
            Self::Disk(packs) => packs.abandon(),
            Self::Bucket(packs) => packs.abandon(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_named_in_one_way() {
        let name = PackName { batch: 0xab, number: 7 };
        assert_eq!(name.to_string().parse(), Ok(name));
        for text in ["", "ab-7", "000000000000000000000000000000ab-07", "000000000000000000000000000000AB-7"]
        {
            assert_eq!(text.parse::<PackName>(), Err(()), "{text}");
        }
    }
}
