//! The operator's keys, in the format of the secrets key file: one a line, an id and 64 hexadecimal digits. The first
//! seals, all open.

use std::collections::HashSet;
use std::fmt;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Characters of a key's id.
const ID_CHARS_MAX: usize = 32;
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
    pub mark: [u8; 8],
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
    /// The keys of a key file. What is wrong names lines, and never shows what is in them.
    ///
    /// # Errors
    /// When it makes no sense; in words for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let mut keys = Vec::new();
        let mut ids = HashSet::new();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let key = parse_key(line).ok_or_else(|| {
                format!(
                    "line {number} must be an id of letters, digits and dashes, and 64 hexadecimal digits"
                )
            })?;
            if !ids.insert(key.id.clone()) {
                return Err(format!("line {number} has an id that another line has"));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or("it has no key")?;
        Ok(Self { first, others: keys.collect() })
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

fn parse_key(line: &str) -> Option<Key> {
    let (id, digits) = line.split_once([' ', '\t'])?;
    let is_plain = |character: char| character.is_ascii_alphanumeric() || character == '-';
    let mut bytes = [0; KEY_BYTES];
    hex::decode_to_slice(digits.trim(), &mut bytes).ok()?;
    let fits = (1..=ID_CHARS_MAX).contains(&id.len()) && id.chars().all(is_plain);
    let [mark, ..] = *blake3::derive_key(MARKING, &bytes).as_chunks::<8>().0 else { return None };
    fits.then(|| Key { id: id.to_owned(), wrapping: blake3::derive_key(WRAPPING, &bytes), mark })
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

    #[test]
    fn a_key_file_that_makes_no_sense_names_the_line_and_shows_nothing_of_it() {
        let twice = [line("a", 1), line("a", 2)].concat();
        for (text, part) in
            [("", "no key"), ("a 0123\n", "line 1"), (&line("a b", 1), "line 1"), (&twice, "line 2")]
        {
            let error = KeyRing::parse(text).expect_err("it makes no sense");
            assert!(error.contains(part) && !error.contains("0101"), "{error}");
        }
    }
}
