//! Files that are made beside their place, and put into it when they are whole.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, Result};
use rustix::path::Arg;

/// How the names of files begin that have no place yet.
const PREFIX: &str = ".atoll-";

/// Something without its place yet. Dropped without [`Unplaced::place`], it is gone.
pub struct Unplaced<'a> {
    directory: &'a OwnedFd,
    name: Option<String>,
}

/// A file without its place yet.
pub struct Fresh<'a> {
    unplaced: Unplaced<'a>,
    /// To be written to.
    pub file: File,
}

impl<'a> Unplaced<'a> {
    /// Something to be placed in this directory, made by `make` under the name it is given.
    pub fn make<T>(directory: &'a OwnedFd, make: impl FnOnce(&str) -> Result<T>) -> Result<(T, Self)> {
        let name = fresh_name();
        let made = make(&name)?;
        Ok((made, Self { directory, name: Some(name) }))
    }

    /// Puts it into its place. Fails with `EEXIST` if something is there that may not be replaced.
    pub fn place(mut self, place: impl Arg + Copy, overwrite: bool) -> Result<()> {
        let Some(name) = &self.name else { return Ok(()) };
        rename(self.directory, name.as_str(), self.directory, place, overwrite)?;
        self.name = None;
        Ok(())
    }
}

impl<'a> Fresh<'a> {
    /// An empty one, to be placed in this directory. Nobody but its owner may read it.
    pub fn create(directory: &'a OwnedFd) -> Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = |name: &str| rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR);
        let (file, unplaced) = Unplaced::make(directory, create)?;
        Ok(Self { unplaced, file: file.into() })
    }

    /// Puts it into its place, as [`Unplaced::place`] does.
    pub fn place(self, place: impl Arg + Copy, overwrite: bool) -> Result<()> {
        self.unplaced.place(place, overwrite)
    }
}

impl Drop for Unplaced<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Best effort: what is reported is why it did not get to its place.
            let _ = rustix::fs::unlinkat(self.directory, name, AtFlags::empty());
        }
    }
}

/// Renames, replacing what is there only if it may. Where the file system knows no such rename, it is looked for first.
pub fn rename(
    from: &OwnedFd,
    old: impl Arg + Copy,
    to: &OwnedFd,
    new: impl Arg + Copy,
    overwrite: bool,
) -> Result<()> {
    if overwrite {
        return rustix::fs::renameat(from, old, to, new);
    }
    match rustix::fs::renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        renamed => return renamed,
    }
    match rustix::fs::statat(to, new, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => rustix::fs::renameat(from, old, to, new),
        Err(error) => Err(error),
    }
}

/// A name nobody else in this sandbox uses: agents come one after the other, and the clock tells them apart.
pub fn fresh_name() -> String {
    static TURN: AtomicU64 = AtomicU64::new(0);
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = since_epoch.map_or(0, |time| time.as_nanos());
    format!("{PREFIX}{now:x}-{:x}", TURN.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    #[test]
    fn a_fresh_file_that_is_not_placed_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Root::Machine.open_dir(dir.path()).unwrap();
        drop(Fresh::create(&directory).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        Fresh::create(&directory).unwrap().place("x", true).unwrap();
        assert!(dir.path().join("x").is_file());
        assert_eq!(Fresh::create(&directory).unwrap().place("x", false), Err(Errno::EXIST));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
