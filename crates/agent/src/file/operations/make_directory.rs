//! Making directories.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::path::Arg;
use wire::guest::Error;

use crate::failure;
use crate::file::directory::Directory;
use crate::file::entry::Entry;
use crate::root::Root;

/// Bits of a directory that can be asked for.
const MODE_BITS: u32 = 0o7777;
/// While it is not known yet what it will be like, a directory is its owner's.
const FIRST_MODE: Mode = Mode::from_raw_mode(0o700);

/// Makes one, and with `recursive` all that are missing above it.
pub fn make(root: &Root, path: &Path, recursive: bool, mode: u32) -> Result<(), Error> {
    let made = if recursive { make_all(root, path, mode) } else { make_one(root, path, mode) };
    made.map_err(|error| failure::of(path.display(), error))
}

fn make_one(root: &Root, path: &Path, mode: u32) -> rustix::io::Result<()> {
    let entry = Entry::find(root, path)?;
    if !entry.is_named() {
        return Err(Errno::EXIST);
    }
    let directory = make_open(&entry.directory, &entry.name)?;
    rustix::fs::fchmod(directory.fd(), Mode::from_raw_mode(mode & MODE_BITS))
}

fn make_all(root: &Root, path: &Path, mode: u32) -> rustix::io::Result<()> {
    let mut walked = PathBuf::new();
    for component in path.components() {
        walked.push(component);
        if matches!(root.open_dir(&walked), Err(Errno::NOENT)) {
            match make_one(root, &walked, mode) {
                Err(Errno::EXIST) => {}
                made => made?,
            }
        }
    }
    root.open_dir(path).map(drop)
}

/// Makes one, which is its owner's alone for now, and opens it.
pub fn make_open(parent: &OwnedFd, name: impl Arg + Copy) -> rustix::io::Result<Directory> {
    rustix::fs::mkdirat(parent, name, FIRST_MODE)?;
    Directory::open_in(parent, name)
}
