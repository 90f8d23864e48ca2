//! Replacing text in a file.
//!
//! A file is bytes: text in any encoding that has ASCII in it, and any kind of line end, is searched as it is. What is no
//! text at all is refused.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use memchr::memmem;
use rustix::fs::Stat;
use rustix::io::Errno;
use wire::guest::file::{EDIT_BYTES_MAX, Edit};
use wire::guest::{Edited, Error, ErrorCode};

use super::diff::unified;
use crate::failure;
use crate::file::entry::{is_same, shown};
use crate::file::fresh::Fresh;
use crate::file::place::Place;
use crate::file::read;
use crate::file::search::SAMPLE_BYTES;
use crate::root::Root;

/// Carries out these edits, in order.
pub fn edit(root: &Root, path: &Path, edits: &[Edit]) -> Result<Edited, Error> {
    if edits.iter().any(|edit| edit.find.is_empty()) {
        return Err(failure::invalid("the text to replace is empty"));
    }
    let file = read::open(root, path)?;
    let stat = rustix::fs::fstat(&file).map_err(|error| failure::of(path.display(), error))?;
    let before = content(file, path)?;
    let mut after = Cow::Borrowed(&before[..]);
    let mut replacements = 0;
    for edit in edits {
        let (replaced, count) = replace(&after, edit).ok_or_else(|| too_large(path))?;
        replacements += count;
        if count > 0 {
            after = Cow::Owned(replaced);
        }
    }
    if before == *after {
        return Ok(Edited { diff: String::new(), replacements });
    }
    put(root, path, &stat, &after)?;
    let shown = shown(root, path).to_string_lossy().into_owned();
    let diff = unified(&shown, &String::from_utf8_lossy(&before), &String::from_utf8_lossy(&after));
    Ok(Edited { diff, replacements })
}

fn content(file: File, path: &Path) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    file.take(EDIT_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(|error| failure::of(path.display(), error))?;
    if content.len() as u64 > EDIT_BYTES_MAX {
        return Err(too_large(path));
    }
    if content[..content.len().min(SAMPLE_BYTES)].contains(&0) {
        return Err(failure::invalid(format!("{}: is a binary file", path.display())));
    }
    Ok(content)
}

fn too_large(path: &Path) -> Error {
    let message = format!("{}: is, or would become, larger than {EDIT_BYTES_MAX} bytes", path.display());
    Error::new(ErrorCode::TooLarge, message)
}

/// Replaces every occurrence, from the left; says how many there were. `None` if the result is too large.
fn replace(text: &[u8], edit: &Edit) -> Option<(Vec<u8>, u64)> {
    let (find, with) = (edit.find.as_bytes(), edit.replace.as_bytes());
    let count = memmem::find_iter(text, find).count();
    let length = text.len() - count * find.len() + count.checked_mul(with.len())?;
    if length as u64 > EDIT_BYTES_MAX {
        return None;
    }
    let mut replaced = Vec::with_capacity(if count > 0 { length } else { 0 });
    let mut done = 0;
    for at in memmem::find_iter(text, find) {
        replaced.extend_from_slice(&text[done..at]);
        replaced.extend_from_slice(with);
        done = at + find.len();
    }
    if count > 0 {
        replaced.extend_from_slice(&text[done..]);
    }
    Some((replaced, count as u64))
}

/// Puts the edited text into its place, if what was read is still there.
fn put(root: &Root, path: &Path, read: &Stat, text: &[u8]) -> Result<(), Error> {
    let failed = |error: Errno| failure::of(path.display(), error);
    let place = Place::find(root, path)?;
    let fresh = Fresh::create(&place.directory).map_err(failed)?;
    (&fresh.file).write_all(text).map_err(|error| failure::of(path.display(), error))?;
    place.dress(&fresh.file, None).map_err(failed)?;
    if !place.existing.is_some_and(|now| is_same(&now, read) && is_unchanged(&now, read)) {
        let message = format!("{}: somebody else changed it meanwhile; edit it again", path.display());
        return Err(Error::new(ErrorCode::WrongState, message));
    }
    fresh.place(&place.name, true).map_err(failed)
}

fn is_unchanged(now: &Stat, read: &Stat) -> bool {
    (now.st_size, now.st_mtime, now.st_mtime_nsec) == (read.st_size, read.st_mtime, read.st_mtime_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replaced(text: &str, find: &str, with: &str) -> Option<(Vec<u8>, u64)> {
        replace(text.as_bytes(), &Edit { find: find.into(), replace: with.into() })
    }

    proptest! {
        #[test]
        fn every_occurrence_is_replaced(text in "[ab]{0,20}", find in "[ab]{1,3}", with in "[abc]{0,3}") {
            let (found, count) = replaced(&text, &find, &with).unwrap();
            prop_assert_eq!(count, text.matches(&find).count() as u64);
            if count > 0 {
                prop_assert_eq!(found, text.replace(&find, &with).into_bytes());
            }
        }
    }

    #[test]
    fn what_would_grow_without_bounds_is_refused() {
        assert_eq!(replaced(&"a".repeat(20_000), "a", &"b".repeat(1000)), None);
    }
}
