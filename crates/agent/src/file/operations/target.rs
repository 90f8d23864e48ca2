//! Where something is moved or copied to.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use wire::guest::Error;

use crate::failure;
use crate::file::entry::{Entry, is_same, kind, shown};
use crate::root::Root;

/// Directories above one, at most: each takes two bytes of a path at least, and links may have made it longer.
const ANCESTORS_MAX: usize = 64 * 1024;

/// What is moved or copied.
pub struct Source {
    /// Itself.
    pub entry: Entry,
    /// What it is.
    pub stat: Stat,
    /// Where it is, for people.
    pub path: PathBuf,
}

/// Where it goes.
pub struct Target {
    /// The place.
    pub entry: Entry,
    /// What is there.
    pub existing: Option<Stat>,
    /// Where it is, for people.
    pub path: PathBuf,
}

impl Source {
    /// Finds it.
    pub fn find(root: &Root, path: &Path) -> Result<Self, Error> {
        let failed = |error| failure::of(path.display(), error);
        let path = shown(root, path);
        let entry = Entry::find(root, &path).map_err(failed)?;
        let stat = entry.stat().map_err(failed)?;
        if !entry.is_named() {
            return Err(failure::invalid(format!("{}: it has no name of its own", path.display())));
        }
        Ok(Self { entry, stat, path })
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        kind(&self.stat) == FileType::Directory
    }
}

impl Target {
    /// Finds where `source` goes: into `path`, if that is a directory, and never into itself.
    pub fn find(root: &Root, path: &Path, source: &Source) -> Result<Self, Error> {
        let failed = |error| failure::of(path.display(), error);
        let path = shown(root, path);
        let (entry, path) = match root.open_dir(&path) {
            Ok(directory) => {
                let name = source.entry.name.clone();
                (Entry { directory, name: name.clone() }, path.join(name))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => (Entry::find(root, &path).map_err(failed)?, path),
            Err(error) => return Err(failed(error)),
        };
        let existing = match entry.stat() {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(failed(error)),
        };
        let target = Self { entry, existing, path };
        target.check_apart(root, source)?;
        Ok(target)
    }

    fn check_apart(&self, root: &Root, source: &Source) -> Result<(), Error> {
        let said = |why: &str| {
            Err(failure::invalid(format!("{} and {}: {why}", source.path.display(), self.path.display())))
        };
        if self.existing.is_some_and(|existing| is_same(&existing, &source.stat)) {
            return said("they are the same");
        }
        if source.is_directory() && is_below(root, &self.entry.directory, &source.stat) {
            return said("a directory cannot go into itself");
        }
        Ok(())
    }
}

/// Whether `directory` is, or lies below, what `stat` is of.
fn is_below(root: &Root, directory: &OwnedFd, stat: &Stat) -> bool {
    let Ok(top) = Entry::find(root, Path::new("/")).and_then(|top| top.stat()) else { return false };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let up = |from: &OwnedFd| rustix::fs::openat(from, "..", flags, Mode::empty());
    let mut at = rustix::fs::openat(directory, ".", flags, Mode::empty());
    for _ in 0..ANCESTORS_MAX {
        // Where nobody may look, the kernel itself refuses to make a loop.
        let Ok(now) = at.as_ref().map_err(|error| *error).and_then(rustix::fs::fstat) else { return false };
        if is_same(&now, stat) {
            return true;
        }
        if is_same(&now, &top) {
            return false;
        }
        at = at.and_then(|at| up(&at));
    }
    false
}
