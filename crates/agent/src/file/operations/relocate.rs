//! Moving.

use std::path::Path;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use wire::guest::Error;

use super::copy::{self, How};
use super::remove;
use super::target::{Source, Target};
use crate::failure;
use crate::file::call::Interest;
use crate::file::entry::kind;
use crate::file::fresh::rename;
use crate::root::Root;

/// Moves what `from` is to `to`, or into it, if that is a directory.
pub fn relocate(
    root: &Root,
    from: &Path,
    to: &Path,
    overwrite: bool,
    interest: &Interest,
) -> Result<(), Error> {
    let source = Source::find(root, from)?;
    let target = Target::find(root, to, &source)?;
    let (old, new) = (&source.entry, &target.entry);
    match rename(&old.directory, &old.name, &new.directory, &new.name, overwrite) {
        Ok(()) => Ok(()),
        Err(Errno::XDEV) => across(&source, &target, overwrite, interest),
        Err(error @ (Errno::EXIST | Errno::NOTEMPTY | Errno::ISDIR | Errno::NOTDIR)) => {
            Err(failure::of(target.path.display(), error))
        }
        Err(error) => {
            Err(failure::of(format!("{} to {}", source.path.display(), target.path.display()), error))
        }
    }
}

/// To another file system.
fn across(source: &Source, target: &Target, overwrite: bool, interest: &Interest) -> Result<(), Error> {
    let existing = target.existing.as_ref().map(kind);
    // As a rename has it: an empty directory can be replaced by another, and no other.
    if overwrite && source.is_directory() && existing == Some(FileType::Directory) {
        rustix::fs::unlinkat(&target.entry.directory, &target.entry.name, AtFlags::REMOVEDIR)
            .map_err(|error| failure::of(target.path.display(), error))?;
    }
    copy::put(source, target, How { recursive: true, overwrite, keep_owner: true }, interest)?;
    let old = &source.entry;
    if source.is_directory() {
        return remove::tree(&old.directory, &old.name, &source.path, interest);
    }
    rustix::fs::unlinkat(&old.directory, &old.name, AtFlags::empty())
        .map_err(|error| failure::of(source.path.display(), error))
}
