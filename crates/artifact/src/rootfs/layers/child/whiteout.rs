//! Removing what is in the way, and hiding what the layers below have (OCI image-spec, `layer.md`, "Whiteouts").
//!
//! A whiteout hides what is below its layer and nothing of its layer, in whichever order they come.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use super::parent::Directory;
use super::tree::Tree;
use super::{Fault, Limits};

/// How names of whiteouts begin.
const PREFIX: &[u8] = b".wh.";
/// How names begin of what AUFS kept for itself.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
/// Hides all that layers below have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a name means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// Itself.
    Plain,
    /// This name is hidden.
    Whiteout(&'a [u8]),
    /// Every name in its directory is hidden.
    Opaque,
    /// Nothing: AUFS left it there.
    Leftover,
}

/// What an entry of this path means. Files below what AUFS left are left by it too.
pub(super) fn meaning<'a>(path: &[&'a [u8]]) -> Result<Meaning<'a>, Fault> {
    let Some((name, above)) = path.split_last() else { return Ok(Meaning::Plain) };
    if above.iter().any(|part| part.starts_with(AUFS_PREFIX)) {
        return Ok(Meaning::Leftover);
    }
    match name.strip_prefix(PREFIX) {
        None => Ok(Meaning::Plain),
        _ if *name == OPAQUE => Ok(Meaning::Opaque),
        _ if name.starts_with(AUFS_PREFIX) => Ok(Meaning::Leftover),
        Some(b"" | b"." | b"..") => Err(Fault::new("a whiteout of no name")),
        Some(hidden) => Ok(Meaning::Whiteout(hidden)),
    }
}

/// Hides a name that layers below have, and what is below it.
pub(super) fn hide(tree: &Tree, directory: &Directory, name: &[u8], limits: &Limits) -> Result<(), Fault> {
    hide_below(tree, directory, name, limits.depth_max).map_err(Fault::call("hide it"))
}

/// Hides all that layers below have in a directory.
pub(super) fn hide_all(tree: &Tree, directory: &Directory, limits: &Limits) -> Result<(), Fault> {
    let hide_all =
        || names(directory)?.iter().try_for_each(|name| hide_below(tree, directory, name, limits.depth_max));
    hide_all().map_err(Fault::call("hide what is in it"))
}

fn hide_below(tree: &Tree, directory: &Directory, name: &[u8], depth_left: usize) -> Result<(), Errno> {
    let is_ours = tree.is_ours(directory, name);
    let below = match directory.open_below(name) {
        Ok(below) => below,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::LOOP | Errno::NOTDIR) if is_ours => return Ok(()),
        Err(Errno::LOOP | Errno::NOTDIR) => return unlinkat(directory, name, AtFlags::empty()),
        Err(errno) => return Err(errno),
    };
    let depth_left = depth_left.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    for name in names(&below)? {
        hide_below(tree, &below, &name, depth_left)?;
    }
    let goes = || unlinkat(directory, name, AtFlags::REMOVEDIR);
    match if is_ours { Err(Errno::NOTEMPTY) } else { goes() } {
        // Something of this layer is in it.
        Err(Errno::NOTEMPTY) => below.leave().map_err(|_| Errno::IO),
        outcome => outcome,
    }
}

/// Removes a name with all that is below it.
pub(super) fn remove(directory: impl AsFd, name: &[u8], limits: &Limits) -> Result<(), Fault> {
    remove_below(directory, name, limits.depth_max).map_err(Fault::call("remove what it replaces"))
}

fn remove_below(directory: impl AsFd, name: &[u8], depth_left: usize) -> Result<(), Errno> {
    match unlinkat(&directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        outcome => return outcome,
    }
    let depth_left = depth_left.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let below = openat(&directory, name, flags, Mode::empty())?;
    for name in names(&below)? {
        remove_below(&below, &name, depth_left)?;
    }
    unlinkat(&directory, name, AtFlags::REMOVEDIR)
}

/// The names in a directory, all read before one goes.
fn names(directory: impl AsFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &[&str], expect: Option<Meaning<'_>>) {
        let path: Vec<&[u8]> = path.iter().map(|part| part.as_bytes()).collect();
        assert_eq!(meaning(&path).ok(), expect, "{path:?}");
    }

    #[test]
    fn names_mean_what_layers_say() {
        check(&[], Some(Meaning::Plain));
        check(&["a", "b"], Some(Meaning::Plain));
        check(&["a", ".wh.b"], Some(Meaning::Whiteout(b"b")));
        check(&["a", ".wh...b"], Some(Meaning::Whiteout(b"..b")));
        check(&["a", ".wh..wh..opq"], Some(Meaning::Opaque));
        check(&[".wh..wh.plnk"], Some(Meaning::Leftover));
        check(&[".wh..wh.plnk", "1.2"], Some(Meaning::Leftover));
        check(&["a", ".wh."], None);
        check(&["a", ".wh.."], None);
        check(&["a", ".wh..."], None);
    }
}
