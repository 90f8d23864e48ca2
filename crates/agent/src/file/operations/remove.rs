//! Removing files, and trees of them.
//!
//! A tree is emptied from below, each directory by a descriptor that was opened without following a link, so that nothing
//! outside of it is touched, whatever is swapped meanwhile.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use rustix::path::Arg;
use wire::guest::Error;

use crate::failure;
use crate::file::call::Interest;
use crate::file::directory::{Directory, Name};
use crate::file::entry::{Entry, is_same, kind};
use crate::file::fresh::fresh_name;
use crate::file::tree::DEPTH_MAX;
use crate::root::Root;

/// Names of one directory that are held, in bytes.
const RUN_BYTES: usize = 16 * 1024;
/// Times that a directory is emptied into which somebody keeps putting things.
const ROUNDS_MAX: u32 = 64;

/// Removes what `path` is; of a link, the link.
pub fn remove(root: &Root, path: &Path, recursive: bool, interest: &Interest) -> Result<(), Error> {
    let failed = |error| failure::of(path.display(), error);
    let entry = Entry::find(root, path).map_err(failed)?;
    let stat = entry.stat().map_err(failed)?;
    let top = Entry::find(root, Path::new("/")).and_then(|top| top.stat()).map_err(failed)?;
    if !entry.is_named() || is_same(&stat, &top) {
        let why = "the root, and what is named by `..`, cannot be removed";
        return Err(failure::invalid(format!("{}: {why}", path.display())));
    }
    match kind(&stat) {
        FileType::Directory if recursive => tree(&entry.directory, &entry.name, path, interest),
        FileType::Directory => {
            rustix::fs::unlinkat(&entry.directory, &entry.name, AtFlags::REMOVEDIR).map_err(failed)
        }
        _ => rustix::fs::unlinkat(&entry.directory, &entry.name, AtFlags::empty()).map_err(failed),
    }
}

/// A directory that is being emptied.
struct Level {
    directory: Directory,
    name: CString,
    run: std::vec::IntoIter<Name>,
}

struct Removal<'a> {
    parent: &'a OwnedFd,
    levels: Vec<Level>,
    path: PathBuf,
    rounds: u32,
}

/// Removes the directory `name` of `parent` with all that is in it. `path` is for people.
pub fn tree(parent: &OwnedFd, name: impl Arg, path: &Path, interest: &Interest) -> Result<(), Error> {
    let name = name.into_c_str().map_err(|error| failure::of(path.display(), error))?.into_owned();
    let path = path.parent().unwrap_or(path).to_owned();
    let mut removal = Removal { parent, levels: Vec::new(), path, rounds: 0 };
    removal.enter(name)?;
    while !removal.levels.is_empty() {
        interest.check()?;
        removal.step()?;
    }
    Ok(())
}

impl Removal<'_> {
    fn step(&mut self) -> Result<(), Error> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        if let Some(name) = level.run.next() {
            return self.remove(name);
        }
        // What was read is gone, so what is read now is new.
        let again = level.directory.rewind().and_then(|()| level.directory.next_run(RUN_BYTES));
        level.run = again.map_err(|error| failure::of(self.path.display(), error))?.into_iter();
        if level.run.len() == 0 { self.leave() } else { Ok(()) }
    }

    /// Removes one name of the deepest directory, or goes into it.
    fn remove(&mut self, name: Name) -> Result<(), Error> {
        if name.kind == FileType::Directory {
            return self.enter(name.name);
        }
        match rustix::fs::unlinkat(self.deepest(), &name.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => self.enter(name.name),
            Err(error) => Err(self.failed(&name.name, error)),
        }
    }

    fn enter(&mut self, name: CString) -> Result<(), Error> {
        if self.levels.len() >= DEPTH_MAX {
            return self.lift(&name);
        }
        match Directory::open_in(self.deepest(), &name) {
            Ok(directory) => {
                self.path.push(name.to_string_lossy().as_ref());
                self.levels.push(Level { directory, name, run: Vec::new().into_iter() });
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            // It is a link or a file by now: found again as such when the directory is read again.
            Err(Errno::NOTDIR | Errno::LOOP) if !self.levels.is_empty() => self.count_round(&name),
            // Even if it cannot be looked into, it may be empty.
            Err(error) => match rustix::fs::unlinkat(self.deepest(), &name, AtFlags::REMOVEDIR) {
                Ok(()) => Ok(()),
                Err(_) => Err(self.failed(&name, error)),
            },
        }
    }

    /// Moves a directory up that lies too deep to be held open; it is found there later.
    fn lift(&mut self, name: &CString) -> Result<(), Error> {
        let Some(top) = self.levels.first() else { return Ok(()) };
        rustix::fs::renameat(self.deepest(), name, top.directory.fd(), fresh_name())
            .map_err(|error| self.failed(name, error))
    }

    /// Removes the deepest directory, which is empty.
    fn leave(&mut self) -> Result<(), Error> {
        let Some(Level { name, .. }) = self.levels.pop() else { return Ok(()) };
        self.path.pop();
        match rustix::fs::unlinkat(self.deepest(), &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                self.count_round(&name)?;
                self.enter(name)
            }
            Err(error) => Err(self.failed(&name, error)),
        }
    }

    /// Fails if somebody has put things back too often.
    fn count_round(&mut self, name: &CString) -> Result<(), Error> {
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX { Err(self.failed(name, Errno::NOTEMPTY)) } else { Ok(()) }
    }

    fn deepest(&self) -> &OwnedFd {
        self.levels.last().map_or(self.parent, |level| level.directory.fd())
    }

    fn failed(&self, name: &CString, error: Errno) -> Error {
        failure::of(self.path.join(name.to_string_lossy().as_ref()).display(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn remove_at(dir: &Path, path: &str) -> Result<(), Error> {
        remove(&Root::confined(dir).unwrap(), Path::new(path), true, &Interest::default())
    }

    #[test]
    fn a_tree_deeper_than_what_can_be_held_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut at = Root::Machine.open_dir(dir.path()).unwrap();
        for level in 0..DEPTH_MAX * 3 {
            rustix::fs::mkdirat(&at, "d", 0o755.into()).unwrap();
            if level % 50 == 0 {
                rustix::fs::symlinkat("/", &at, "link").unwrap();
            }
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            at = rustix::fs::openat(&at, "d", flags, rustix::fs::Mode::empty()).unwrap();
        }
        remove_at(dir.path(), "/d").unwrap();
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(),
            ["link"]
        );
    }

    #[test]
    fn a_link_is_removed_and_what_it_leads_to_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("tree/below")).unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        symlink(outside.path(), dir.path().join("tree/below/link")).unwrap();
        symlink("tree", dir.path().join("link")).unwrap();
        remove_at(dir.path(), "/link/").unwrap();
        assert!(dir.path().join("tree").is_dir());
        remove_at(dir.path(), "/tree").unwrap();
        assert!(!dir.path().join("tree").exists() && outside.path().join("kept").exists());
    }

    #[test]
    fn the_root_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        for path in ["/", "/a/..", "/.", "/a/../a/.."] {
            let error = remove_at(dir.path(), path).unwrap_err();
            assert_eq!(error.code, wire::guest::ErrorCode::Invalid, "{path}: {error}");
        }
        assert!(dir.path().join("a").is_dir());
    }
}
