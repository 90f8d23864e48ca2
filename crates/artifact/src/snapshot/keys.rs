//! The store's own keys, and how the operator's are exchanged.
//!
//! Nothing but these is sealed with the operator's keys. So `rewrap` is a few small objects, whatever the store has in it;
//! after it the old key of the operator's opens nothing, and what is stored from then on is under a new data key, which
//! the old one never opened. Names of chunks are made with the first data key for ever: what is the same stays known.
//!
//! A data key is two equal objects, `keys/<n>` and `keys/<n>-copy`: without it nothing could be read.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use super::error::{Error, Result};
use super::keyring::{Key, KeyRing};
use super::objects::{Kind, Objects, Put};
use super::seal::{Cipher, HEAD_BYTES, random};

/// How a wrapped key is written; another way would have another word.
const FORMAT: &str = "k1";
/// For what data keys are used.
const CHUNKS: &str = "atoll snapshots: chunks, 1";
const MANIFESTS: &str = "atoll snapshots: manifests, 1";
const CHUNK_NAMES: &str = "atoll snapshots: names of chunks, 1";
const ROOTS: &str = "atoll snapshots: names of snapshots, 1";
/// Data keys, which only a rotation makes.
const KEYS_MAX: u32 = 10_000;

/// The name of a chunk: a keyed hash of what it contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ChunkName(pub [u8; 32]);

/// Which data key.
pub(super) type Epoch = u32;

/// The store's keys, open.
pub(super) struct DataKeys {
    ring: KeyRing,
    names: [u8; 32],
    roots: [u8; 32],
    keys: RwLock<BTreeMap<Epoch, DataKey>>,
}

#[derive(Clone)]
struct DataKey {
    key: [u8; 32],
    /// The operator's key it is wrapped with.
    wrapped_with: String,
}

impl DataKeys {
    /// Those of this store, which gets its first if it is new.
    pub(super) fn open(objects: &Objects, ring: &KeyRing) -> Result<Self> {
        let mut keys = read(objects, ring)?;
        if keys.is_empty() {
            if !objects.list(Kind::Manifests)?.is_empty() {
                let what = "the data key, without which no snapshot can be read,".to_owned();
                return Err(Error::Missing { what, place: objects.place().to_owned() });
            }
            add(objects, ring.first(), 0)?;
            keys = read(objects, ring)?;
        }
        let missing = || Error::Missing { what: "keys/0".into(), place: objects.place().to_owned() };
        let first = keys.get(&0).ok_or_else(missing)?.key;
        let (names, roots) = (blake3::derive_key(CHUNK_NAMES, &first), blake3::derive_key(ROOTS, &first));
        Ok(Self { ring: ring.clone(), names, roots, keys: RwLock::new(keys) })
    }

    pub(super) fn chunk_name(&self, content: &[u8]) -> ChunkName {
        ChunkName(*blake3::keyed_hash(&self.names, content).as_bytes())
    }

    pub(super) fn root(&self, content: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.roots, content).as_bytes()
    }

    /// The data key that seals now.
    pub(super) fn newest(&self) -> Epoch {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.keys().next_back().copied().unwrap_or_default()
    }

    /// What seals the chunks of one store.
    pub(super) fn chunks(&self, objects: &Objects, epoch: Epoch, batch: u128) -> Result<Cipher> {
        Cipher::derived(&self.key(objects, epoch)?, CHUNKS, &batch.to_be_bytes())
    }

    /// What seals the manifest of one snapshot.
    pub(super) fn manifest(&self, objects: &Objects, epoch: Epoch, root: &[u8]) -> Result<Cipher> {
        Cipher::derived(&self.key(objects, epoch)?, MANIFESTS, root)
    }

    /// A data key. One that is not known may have been made by another node meanwhile.
    fn key(&self, objects: &Objects, epoch: Epoch) -> Result<[u8; 32]> {
        let known = |keys: &BTreeMap<Epoch, DataKey>| keys.get(&epoch).map(|found| found.key);
        if let Some(key) = known(&self.keys.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(key);
        }
        let keys = read(objects, &self.ring)?;
        let missing = || Error::Missing { what: name(epoch), place: objects.place().to_owned() };
        let key = known(&keys).ok_or_else(missing)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(key)
    }

    /// Wraps each data key with the ring's first key, and adds a new data key if any was wrapped with another. How many
    /// were. Until it returns, the old key is needed.
    pub(super) fn rewrap(&self, objects: &Objects) -> Result<usize> {
        let keys = read(objects, &self.ring)?;
        let first = self.ring.first();
        let old = || keys.iter().filter(|(_, key)| key.wrapped_with != first.id);
        let count = old().count();
        // The new one comes first: whatever this is interrupted at, the next time there is something left to do.
        if count > 0 {
            add(objects, first, keys.keys().next_back().map_or(0, |last| last + 1))?;
        }
        for (epoch, data) in old() {
            write(objects, *epoch, &wrap(first, &name(*epoch), &data.key)?)?;
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = read(objects, &self.ring)?;
        Ok(count)
    }
}

fn name(epoch: Epoch) -> String {
    format!("keys/{epoch}")
}

/// Makes a data key, unless somebody else has just done so.
fn add(objects: &Objects, key: &Key, epoch: Epoch) -> Result<()> {
    let text = wrap(key, &name(epoch), &random()?)?;
    if objects.put(Kind::Keys, &epoch.to_string(), text.clone().into_bytes(), Put::New)? {
        objects.put(Kind::Keys, &format!("{epoch}-copy"), text.into_bytes(), Put::Over)?;
    }
    Ok(())
}

fn write(objects: &Objects, epoch: Epoch, text: &str) -> Result<()> {
    for name in [epoch.to_string(), format!("{epoch}-copy")] {
        objects.put(Kind::Keys, &name, text.as_bytes().to_vec(), Put::Over)?;
    }
    Ok(())
}

/// All data keys there are.
fn read(objects: &Objects, ring: &KeyRing) -> Result<BTreeMap<Epoch, DataKey>> {
    let listed = objects.list(Kind::Keys)?;
    let epochs = listed.iter().filter_map(|listed| listed.name.split('-').next()?.parse().ok());
    let epochs: std::collections::BTreeSet<Epoch> = epochs.filter(|epoch| *epoch < KEYS_MAX).collect();
    epochs.into_iter().map(|epoch| Ok((epoch, read_one(objects, ring, epoch)?))).collect()
}

/// From the first of the two that is whole; the other is made like it.
fn read_one(objects: &Objects, ring: &KeyRing, epoch: Epoch) -> Result<DataKey> {
    let names = [epoch.to_string(), format!("{epoch}-copy")];
    let texts = [objects.get(Kind::Keys, &names[0])?, objects.get(Kind::Keys, &names[1])?];
    let parsed = texts.each_ref().map(|text| text.as_deref().and_then(parse));
    let Some(wrapped) = parsed.iter().flatten().next() else {
        return Err(Error::damaged(name(epoch), "neither it nor its copy is as it was written"));
    };
    let key = unwrap(ring, &name(epoch), wrapped)?;
    let line = print(wrapped).into_bytes();
    for (object, text) in names.iter().zip(&texts) {
        if text.as_ref() != Some(&line) {
            tracing::warn!(key = object, "a data key is written anew from its copy");
            objects.put(Kind::Keys, object, line.clone(), Put::Over)?;
        }
    }
    Ok(DataKey { key, wrapped_with: wrapped.key.clone() })
}

/// A data key as it is stored.
struct Wrapped {
    key: String,
    mark: [u8; 8],
    sealed: Vec<u8>,
}

fn wrap(key: &Key, what: &str, data: &[u8; 32]) -> Result<String> {
    let mut sealed = vec![0; HEAD_BYTES];
    sealed.extend_from_slice(data);
    Cipher::new(&key.wrapping)?.seal(what.as_bytes(), &mut sealed)?;
    Ok(print(&Wrapped { key: key.id.clone(), mark: key.mark, sealed }))
}

fn unwrap(ring: &KeyRing, what: &str, wrapped: &Wrapped) -> Result<[u8; 32]> {
    let (what, id) = (what.to_owned(), wrapped.key.clone());
    let Some(key) = ring.find(&id) else { return Err(Error::NoKey { what, key: id }) };
    if key.mark != wrapped.mark {
        return Err(Error::WrongKey { what, key: id });
    }
    let mut sealed = wrapped.sealed.clone();
    let opened = Cipher::new(&key.wrapping)?.open(what.as_bytes(), &mut sealed).map(|data| data.to_vec());
    let data = opened.and_then(|data| data.try_into().ok());
    data.ok_or_else(|| Error::damaged(what, "it does not open with its key"))
}

/// One line, which ends in a checksum: what was damaged is told from what is sealed with another key.
fn print(wrapped: &Wrapped) -> String {
    let (mark, sealed) = (hex::encode(wrapped.mark), hex::encode(&wrapped.sealed));
    let line = format!("{FORMAT} {} {mark} {sealed}", wrapped.key);
    format!("{line} {}\n", blake3::hash(line.as_bytes()).to_hex())
}

fn parse(text: &[u8]) -> Option<Wrapped> {
    let (line, sum) = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.rsplit_once(' ')?;
    if blake3::hash(line.as_bytes()).to_hex().as_str() != sum {
        return None;
    }
    let mut words = line.split(' ');
    let (format, key, mark, sealed) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let mut wrapped = Wrapped { key: key.to_owned(), mark: [0; 8], sealed: hex::decode(sealed).ok()? };
    hex::decode_to_slice(mark, &mut wrapped.mark).ok()?;
    (format == FORMAT).then_some(wrapped)
}
