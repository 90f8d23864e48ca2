//! What a snapshot is made of.
//!
//! ```text
//! sealed    "atollsn1", epoch u32, sealed with the data key of this epoch and the root as salt: content, places
//! content   length u32, JSON { salt, facts, files: [{ name, bytes, chunks }] }, then for each chunk: index u32, name 32 bytes
//! places    count u32, then for each pack: batch u128, number u32, epoch u32; then for each chunk: pack, offset, length u32
//! ```
//!
//! Numbers are little-endian. A chunk that is not listed is a hole. The root is a keyed hash of the content: where chunks
//! lie may change without another name for the snapshot. The salt is random, so that no two stores write one manifest.

use serde::{Deserialize, Serialize};

use super::chunk::{CHUNK_BYTES, chunks_of};
use super::error::{Error, Result};
use super::facts::{Facts, Root};
use super::keys::{ChunkName, DataKeys, Epoch};
use super::objects::{Objects, PackName};
use super::seal::{HEAD_BYTES, SEAL_BYTES};

const MAGIC: &[u8; 8] = b"atollsn1";
/// What is in front of what is sealed.
const PREFIX_BYTES: usize = MAGIC.len() + 4;
/// Files of a snapshot. Engines write a handful.
pub(super) const FILES_MAX: usize = 1024;
/// Bytes of all files, holes included.
pub(super) const BYTES_MAX: u64 = 1 << 40;

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub pack: PackName,
    pub epoch: Epoch,
    pub offset: u32,
    pub length: u32,
}

/// A chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// Which of the file's.
    pub index: u32,
    pub name: ChunkName,
    pub at: Location,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredFile {
    pub name: String,
    pub bytes: u64,
    /// By index; the others are holes.
    pub chunks: Vec<Placed>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Manifest {
    pub salt: u64,
    pub facts: Facts,
    pub files: Vec<StoredFile>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    salt: u64,
    facts: Facts,
    files: Vec<HeadFile>,
}

#[derive(Serialize, Deserialize)]
struct HeadFile {
    name: String,
    bytes: u64,
    chunks: usize,
}

impl Manifest {
    pub(super) fn chunks(&self) -> impl Iterator<Item = &Placed> {
        self.files.iter().flat_map(|file| &file.chunks)
    }

    /// The packs that chunks are in.
    pub(super) fn packs(&self) -> std::collections::BTreeSet<PackName> {
        self.chunks().map(|chunk| chunk.at.pack).collect()
    }

    /// Its name, and itself, sealed.
    pub(super) fn seal(&self, objects: &Objects, keys: &DataKeys) -> Result<(Root, Vec<u8>)> {
        let content = self.content()?;
        let root = Root::new(keys.root(&content));
        let epoch = keys.newest();
        let mut sealed = vec![0; HEAD_BYTES];
        sealed.extend_from_slice(&content);
        self.write_places(&mut sealed);
        keys.manifest(objects, epoch, root.as_bytes())?.seal(&about(&root, epoch), &mut sealed)?;
        let prefix = [MAGIC.as_slice(), &epoch.to_le_bytes()].concat();
        Ok((root, [prefix, sealed].concat()))
    }

    /// The snapshot of this name, of these bytes.
    pub(super) fn open(objects: &Objects, keys: &DataKeys, root: &Root, mut bytes: Vec<u8>) -> Result<Self> {
        let damaged = |why: &str| Error::damaged(format!("the manifest of {root}"), why);
        let Some((prefix, sealed)) = bytes.split_first_chunk_mut::<PREFIX_BYTES>() else {
            return Err(damaged("it is cut short"));
        };
        let Some((MAGIC, epoch)) = prefix.split_first_chunk::<8>() else {
            return Err(damaged("it does not begin as manifests do"));
        };
        if sealed.len() < SEAL_BYTES {
            return Err(damaged("it is cut short"));
        }
        let epoch = Epoch::from_le_bytes(epoch.try_into().unwrap_or_default());
        let cipher = match keys.manifest(objects, epoch, root.as_bytes()) {
            // The number is all that is not sealed, and may be what is wrong.
            Err(Error::Missing { .. }) => return Err(damaged("it names a data key that there is not")),
            cipher => cipher?,
        };
        let content = cipher.open(&about(root, epoch), sealed);
        let content = content.ok_or_else(|| damaged("it was changed or cut short, or is another's"))?;
        let (manifest, length) = read(content).ok_or_else(|| damaged("its content makes no sense"))?;
        let whole = content.get(..length).is_some_and(|content| keys.root(content) == *root.as_bytes());
        if whole { Ok(manifest) } else { Err(damaged("its content has another name")) }
    }

    fn content(&self) -> Result<Vec<u8>> {
        let files = self.files.iter().map(|file| HeadFile {
            name: file.name.clone(),
            bytes: file.bytes,
            chunks: file.chunks.len(),
        });
        let head = Head { salt: self.salt, facts: self.facts.clone(), files: files.collect() };
        let json = serde_json::to_vec(&head)
            .map_err(|source| Error::Io { what: "describe a snapshot".into(), source: source.into() })?;
        let mut content = u32_of(json.len()).to_vec();
        content.extend_from_slice(&json);
        for chunk in self.chunks() {
            content.extend_from_slice(&chunk.index.to_le_bytes());
            content.extend_from_slice(&chunk.name.0);
        }
        Ok(content)
    }

    fn write_places(&self, out: &mut Vec<u8>) {
        let mut packs: Vec<_> = self.chunks().map(|chunk| (chunk.at.pack, chunk.at.epoch)).collect();
        packs.sort_unstable();
        packs.dedup();
        out.extend_from_slice(&u32_of(packs.len()));
        for (pack, epoch) in &packs {
            out.extend_from_slice(&pack.batch.to_le_bytes());
            out.extend_from_slice(&pack.number.to_le_bytes());
            out.extend_from_slice(&epoch.to_le_bytes());
        }
        for chunk in self.chunks() {
            let at = packs.binary_search(&(chunk.at.pack, chunk.at.epoch)).unwrap_or_default();
            for number in [u32_of(at), chunk.at.offset.to_le_bytes(), chunk.at.length.to_le_bytes()] {
                out.extend_from_slice(&number);
            }
        }
    }
}

/// What a sealed manifest is bound to.
fn about(root: &Root, epoch: Epoch) -> Vec<u8> {
    [MAGIC.as_slice(), &epoch.to_le_bytes(), root.as_bytes()].concat()
}

fn u32_of(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

/// Takes from the front, as far as there is something.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
}

/// A manifest and the length of its content. None if it makes no sense, whoever sealed it.
fn read(bytes: &[u8]) -> Option<(Manifest, usize)> {
    let mut reader = Reader(bytes);
    let length = reader.u32()?;
    let head: Head = serde_json::from_slice(reader.bytes(length as usize)?).ok()?;
    let counts: Vec<_> = head.files.iter().map(|file| file.chunks).collect();
    let mut files: Vec<_> =
        head.files.into_iter().map(|file| read_file(file, &mut reader)).collect::<Option<_>>()?;
    let content_length = bytes.len() - reader.0.len();
    let packs = reader.u32()?;
    let packs: Vec<_> = (0..packs).map(|_| read_pack(&mut reader)).collect::<Option<_>>()?;
    for chunk in files.iter_mut().flat_map(|file| &mut file.chunks) {
        let (pack, epoch) = *packs.get(reader.u32()? as usize)?;
        chunk.at = Location { pack, epoch, offset: reader.u32()?, length: reader.u32()? };
    }
    let makes_sense = reader.0.is_empty() && counts.len() <= FILES_MAX && files.iter().all(is_sound);
    makes_sense.then_some((Manifest { salt: head.salt, facts: head.facts, files }, content_length))
}

fn read_file(file: HeadFile, reader: &mut Reader<'_>) -> Option<StoredFile> {
    let nowhere = Location { pack: PackName { batch: 0, number: 0 }, epoch: 0, offset: 0, length: 0 };
    let mut chunks = Vec::new();
    for _ in 0..file.chunks {
        chunks.push(Placed { index: reader.u32()?, name: ChunkName(reader.take()?), at: nowhere });
    }
    Some(StoredFile { name: file.name, bytes: file.bytes, chunks })
}

fn read_pack(reader: &mut Reader<'_>) -> Option<(PackName, Epoch)> {
    let batch = u128::from_le_bytes(reader.take()?);
    Some((PackName { batch, number: reader.u32()? }, reader.u32()?))
}

/// A file that leads nowhere else, with chunks within it, each in its order and of a length that a chunk can have.
fn is_sound(file: &StoredFile) -> bool {
    let is_plain = !file.name.is_empty() && !file.name.contains(['/', '\0']);
    let is_name = is_plain && file.name != "." && file.name != "..";
    let ordered = file.chunks.is_sorted_by(|one, next| one.index < next.index);
    let within = file.chunks.last().is_none_or(|last| u64::from(last.index) < chunks_of(file.bytes));
    let length_max = CHUNK_BYTES + SEAL_BYTES + 1;
    let lengths =
        file.chunks.iter().all(|chunk| (SEAL_BYTES + 1..=length_max).contains(&(chunk.at.length as usize)));
    is_name && ordered && within && lengths && file.bytes <= BYTES_MAX
}
