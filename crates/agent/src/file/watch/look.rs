//! Looks into directories: each is watched first, and read then, so that nothing in it comes between.

use std::ffi::CStr;
use std::fmt::Display;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::guest::watch::{Change, DEPTH_MAX, DIRECTORIES_MAX};
use wire::guest::{Error, ErrorCode};
use wire::sandbox::limits::PATH_BYTES_MAX;

use super::map::Watched;
use super::watcher::{Stop, Watcher};
use crate::failure;
use crate::file::directory::{Directory, Name, is_barred};
use crate::file::tree::is_of_kernel;

/// Names of one level that are held, in bytes, about.
const RUN_BYTES: usize = 16 * 1024;

/// What is asked of the kernel about a directory.
const WANTED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    // What has no name any more has no path to be told by.
    .union(WatchFlags::EXCL_UNLINK);

/// A directory that is being read.
struct Level {
    watched: Watched,
    directory: Directory,
    run: std::vec::IntoIter<Name>,
    device: u64,
}

impl Watcher<'_> {
    /// Watches everything below the directory that was asked for, which is open here, wherever it is by now.
    pub(super) fn look_again(&mut self, directory: Directory) -> Result<(), Error> {
        let base = self.map.base();
        let before: Vec<_> = self.map.all().filter(|watched| *watched != base).collect();
        before.iter().for_each(|watched| drop(self.map.forget(*watched)));
        self.look(base, directory, false)?;
        for watched in before.into_iter().filter(|watched| !self.map.has(*watched)) {
            // It is gone, or nowhere below any more.
            let _ = inotify::remove_watch(&*self.inotify, watched);
        }
        Ok(())
    }

    /// Watches a directory that has appeared, if directories are to be entered, and tells what is in it if that is wanted.
    pub(super) fn enter(&mut self, above: Watched, name: &CStr, tell: bool) -> Result<(), Stop> {
        if !self.recursive {
            return Ok(());
        }
        let mut directory = self.base.open(self.root).ok_or(Stop::Gone)?;
        let names = self.map.names(above).unwrap_or_default();
        for part in names.into_iter().chain([name]) {
            directory = match Directory::open_in(directory.fd(), part) {
                Ok(directory) => directory,
                // Whatever moved or removed it tells where it is.
                Err(error) if is_barred(error) => return Ok(()),
                Err(error) => return Err(failure::of(self.path(above, name), error).into()),
            };
        }
        match self.attach(&directory, above, name)? {
            Some(watched) => Ok(self.look(watched, directory, tell)?),
            None => Ok(()),
        }
    }

    /// Looks into a directory that is watched, and watches those in it.
    fn look(&mut self, watched: Watched, directory: Directory, tell: bool) -> Result<(), Error> {
        if !self.recursive {
            return Ok(());
        }
        let mut levels = vec![Level::of(watched, directory)];
        while let Some(level) = levels.last_mut() {
            self.outbox.check()?;
            let Some(name) = level.next() else {
                levels.pop();
                continue;
            };
            if let Some(below) = self.find(level, &name, tell)? {
                levels.push(below);
            }
        }
        Ok(())
    }

    /// Takes up one name that was found; returns it if it is a directory to look into.
    fn find(&mut self, level: &Level, name: &Name, tell: bool) -> Result<Option<Level>, Error> {
        let (above, is_dir) = (level.watched, name.kind == FileType::Directory);
        let Some(called) = self.called(above, &name.name, is_dir) else { return Ok(None) };
        if called.is_excluded {
            return Ok(None);
        }
        if tell {
            let change = Change::Created { path: called.path, is_dir };
            let is_new = self.fresh.add(above, &name.name);
            self.outbox.tell(if is_new { &change } else { &Change::Rescan });
        }
        if !is_dir {
            return Ok(None);
        }
        let directory = match Directory::open_in(level.directory.fd(), &name.name) {
            Ok(directory) => directory,
            Err(error) if is_barred(error) => return Ok(None),
            Err(error) => return Err(failure::of(self.path(above, &name.name), error)),
        };
        if is_elsewhere(level, &directory) {
            return Ok(None);
        }
        let watched = self.attach(&directory, above, &name.name)?;
        Ok(watched.map(|watched| Level::of(watched, directory)))
    }

    /// Watches a directory, which is found here; `None` if it may not be watched, or is gone.
    fn attach(
        &mut self,
        directory: &Directory,
        above: Watched,
        name: &CStr,
    ) -> Result<Option<Watched>, Error> {
        let Some(names) = self.map.names(above) else { return Ok(None) };
        let below_bytes: usize = names.iter().map(|part| part.count_bytes() + 1).sum();
        let path_bytes = self.base.shown.len() + below_bytes + 1 + name.count_bytes();
        if names.len() + 1 >= DEPTH_MAX {
            return Err(self.too_deep(above, name, format!("more than {DEPTH_MAX} levels deep")));
        }
        if path_bytes > PATH_BYTES_MAX {
            return Err(self.too_deep(
                above,
                name,
                format!("the path is longer than {PATH_BYTES_MAX} bytes"),
            ));
        }
        let counted = count(&self.directories)?;
        let watched = match add(&self.inotify, directory.fd()) {
            Ok(watched) => watched,
            Err(error) if is_barred(error) => return Ok(None),
            Err(error) => return Err(not_added(self.path(above, name), error)),
        };
        if watched == self.map.base() {
            return Ok(None);
        }
        if let Some(other) = self.map.child(above, name).filter(|other| *other != watched) {
            self.forget(other);
        }
        self.map.put(watched, above, name, counted);
        Ok(Some(watched))
    }

    fn path(&self, above: Watched, name: &CStr) -> String {
        self.called(above, name, true).map_or_else(String::new, |called| called.path)
    }

    pub(super) fn too_deep(&self, above: Watched, name: &CStr, why: String) -> Error {
        let path = self.path(above, name);
        let beginning: String = path.chars().take(100).collect();
        Error::new(ErrorCode::TooLarge, format!("{beginning}…: {why}; leave it out"))
    }
}

impl Level {
    fn of(watched: Watched, directory: Directory) -> Self {
        let device = rustix::fs::fstat(directory.fd()).map_or(0, |stat| stat.st_dev);
        Self { watched, directory, run: Vec::new().into_iter(), device }
    }

    /// The next name. A directory that cannot be read further has been read.
    fn next(&mut self) -> Option<Name> {
        if self.run.len() == 0 {
            self.run = self.directory.next_run(RUN_BYTES).unwrap_or_default().into_iter();
        }
        self.run.next()
    }
}

/// Whether a directory is not of the tree: something that the kernel makes up, in a tree that it does not.
fn is_elsewhere(above: &Level, directory: &Directory) -> bool {
    let device = rustix::fs::fstat(directory.fd()).map_or(0, |stat| stat.st_dev);
    device != above.device && is_of_kernel(directory)
}

/// Counts one more directory.
pub(super) fn count(directories: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    directories.clone().try_acquire_owned().map_err(|_| {
        let message = format!(
            "more than {DIRECTORIES_MAX} directories would be watched in this sandbox; leave some out"
        );
        Error::new(ErrorCode::TooMany, message)
    })
}

/// Watches an open directory. Of one that is watched already, says which it is.
pub(super) fn add(inotify: &OwnedFd, directory: &OwnedFd) -> rustix::io::Result<Watched> {
    // There is no call that takes a descriptor, and a path could lead elsewhere by now. The entry is the thread's own: it
    // alone has the user's identity.
    let path = format!("/proc/thread-self/fd/{}", directory.as_raw_fd());
    inotify::add_watch(inotify.as_fd(), path, WANTED)
}

/// Why a directory cannot be watched.
pub(super) fn not_added(path: impl Display, error: Errno) -> Error {
    match error {
        Errno::NOSPC => {
            let why = "the kernel watches no more directories for this user (fs.inotify.max_user_watches); leave some out";
            Error::new(ErrorCode::TooMany, format!("{path}: {why}"))
        }
        other => failure::of(path, other),
    }
}
