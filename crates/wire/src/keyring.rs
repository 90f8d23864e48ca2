//! The secrets key file: one key a line, an id and 64 hexadecimal digits. The first seals, all open; so a key is
//! exchanged by a new line in front, and the old one goes when everything was sealed anew.

use std::collections::HashSet;
use std::fmt;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Characters of a key's id.
const ID_CHARS_MAX: usize = 32;

/// One line of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct FileKey {
    /// What it is called where something is sealed with it.
    pub id: String,
    /// The key.
    pub bytes: [u8; KEY_BYTES],
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileKey({})", self.id)
    }
}

/// The keys of a key file: the first, and the others. What is wrong names lines, and never shows what is in them.
///
/// # Errors
/// When it makes no sense; in words for the operator.
pub fn parse(text: &str) -> Result<(FileKey, Vec<FileKey>), String> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let mut keys = Vec::new();
    let mut ids = HashSet::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let key = parse_key(line).ok_or_else(|| {
            format!("line {number} must be an id of letters, digits and dashes, and 64 hexadecimal digits")
        })?;
        if !ids.insert(key.id.clone()) {
            return Err(format!("line {number} has an id that another line has"));
        }
        keys.push(key);
    }
    let mut keys = keys.into_iter();
    let first = keys.next().ok_or("it has no key")?;
    Ok((first, keys.collect()))
}

fn parse_key(line: &str) -> Option<FileKey> {
    let (id, digits) = line.split_once([' ', '\t'])?;
    let is_plain = |character: char| character.is_ascii_alphanumeric() || character == '-';
    let fits = (1..=ID_CHARS_MAX).contains(&id.len()) && id.chars().all(is_plain);
    let bytes = key_of(digits.trim())?;
    fits.then(|| FileKey { id: id.to_owned(), bytes })
}

fn key_of(digits: &str) -> Option<[u8; KEY_BYTES]> {
    let digits: Vec<_> = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let byte = |pair: &[u32]| u8::try_from((pair[0] << 4) | pair.get(1)?).ok();
    digits.chunks(2).map(byte).collect::<Option<Vec<_>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, byte: u8) -> String {
        format!("{id} {}\n", format!("{byte:02x}").repeat(KEY_BYTES))
    }

    #[test]
    fn the_first_is_told_from_the_others_and_none_is_shown() {
        let (first, others) = parse(&format!("# new\n\n{}{}", line("new", 0xA2), line("old", 1))).unwrap();
        assert_eq!((first.id.as_str(), first.bytes), ("new", [0xA2; KEY_BYTES]));
        assert_eq!((others[0].id.as_str(), others[0].bytes), ("old", [1; KEY_BYTES]));
        assert_eq!(format!("{first:?}"), "FileKey(new)");
    }

    #[test]
    fn a_key_file_that_makes_no_sense_names_the_line_and_shows_nothing_of_it() {
        let twice = [line("a", 1), line("a", 2)].concat();
        let long = format!("a {}0\n", "01".repeat(KEY_BYTES));
        for (text, part) in [
            ("", "no key"),
            ("# a comment\n", "no key"),
            ("a 0123\n", "line 1"),
            (&long, "line 1"),
            (&format!("a +1{}\n", "01".repeat(KEY_BYTES - 1)), "line 1"),
            (&line("a b", 1), "line 1"),
            (&twice, "line 2"),
        ] {
            let error = parse(text).expect_err("it makes no sense");
            assert!(error.contains(part) && !error.contains("0101"), "{error}");
        }
    }
}
