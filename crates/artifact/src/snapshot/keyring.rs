//! The operator's keys, as snapshots use them.

use std::fmt;

use wire::keyring::{self, FileKey, KEY_BYTES};

/// Bytes of what tells one key from another.
const MARK_BYTES: usize = 8;
/// For what of ours the keys of the file are used; control uses them for credentials.
const WRAPPING: &str = "atoll snapshots: wrapping of data keys, 1";
/// What tells one key from another, and nothing else about it.
const MARKING: &str = "atoll snapshots: the mark of a key, 1";

/// A key that seals the store's own.
#[derive(Clone)]
pub(super) struct Key {
    pub id: String,
    /// What seals. Not the key of the file: nothing is sealed with one key in two ways.
    pub wrapping: [u8; KEY_BYTES],
    /// Tells a wrong key from a damaged object.
    pub mark: [u8; MARK_BYTES],
}

/// The keys.
#[derive(Clone)]
pub struct KeyRing {
    first: Key,
    others: Vec<Key>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys().map(|key| key.id.as_str()).collect();
        f.debug_tuple("KeyRing").field(&ids).finish()
    }
}

impl KeyRing {
    /// The keys of a key file.
    ///
    /// # Errors
    /// When it makes no sense; in words for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (first, others) = keyring::parse(text)?;
        Ok(Self { first: Key::of(first), others: others.into_iter().map(Key::of).collect() })
    }

    /// The one that seals.
    pub(super) fn first(&self) -> &Key {
        &self.first
    }

    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.keys().find(|key| key.id == id)
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        [&self.first].into_iter().chain(&self.others)
    }
}

impl Key {
    fn of(key: FileKey) -> Self {
        let mut mark = [0; MARK_BYTES];
        mark.copy_from_slice(&blake3::derive_key(MARKING, &key.bytes)[..MARK_BYTES]);
        Self { id: key.id, wrapping: blake3::derive_key(WRAPPING, &key.bytes), mark }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, byte: u8) -> String {
        format!("{id} {}\n", hex::encode([byte; KEY_BYTES]))
    }

    #[test]
    fn the_first_seals_and_all_are_found() {
        let ring = KeyRing::parse(&format!("# new\n\n{}{}", line("new", 2), line("old", 1))).unwrap();
        assert_eq!(ring.first().id, "new");
        assert!(ring.find("old").is_some() && ring.find("other").is_none());
        assert_ne!(ring.find("old").unwrap().mark, ring.first().mark);
        assert_eq!(format!("{ring:?}"), r#"KeyRing(["new", "old"])"#);
    }
}
