//! Copying: files with their permissions and times, links as links, trees.
//!
//! A file, link or new tree appears whole; a tree that is copied onto one that is there goes into it file by file.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use rustix::path::Arg;
use wire::guest::{Error, ErrorCode};

use super::make_directory::make_open;
use super::remove;
use super::target::{Source, Target};
use crate::failure;
use crate::file::PIECE_BYTES;
use crate::file::call::Interest;
use crate::file::directory::{Directory, Name};
use crate::file::entry::kind;
use crate::file::fresh::{Fresh, Unplaced, fresh_name, rename};
use crate::file::place::check_writable;
use crate::file::tree::DEPTH_MAX;
use crate::root::Root;

/// Permission bits of a file that its copy has too: another user's rights are not for the copying.
const FILE_MODE_BITS: u32 = 0o777;
/// The same, of a directory.
const DIRECTORY_MODE_BITS: u32 = 0o3777;
/// Names of one directory that are held, in bytes.
const RUN_BYTES: usize = 16 * 1024;

/// How to copy.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Also directories, with all that is in them.
    pub recursive: bool,
    /// Whether something that is there may be replaced.
    pub overwrite: bool,
    /// Whether copies have the owner of what they are copies of, as far as the user may.
    pub keep_owner: bool,
}

/// Copies what `from` is to `to`, or into it, if that is a directory.
pub fn copy(root: &Root, from: &Path, to: &Path, how: How, interest: &Interest) -> Result<(), Error> {
    let source = Source::find(root, from)?;
    if source.is_directory() && !how.recursive {
        let message = format!("{}: is a directory; say `recursive` to copy it", source.path.display());
        return Err(Error::new(ErrorCode::IsADirectory, message));
    }
    let target = Target::find(root, to, &source)?;
    put(&source, &target, how, interest)
}

/// Copies.
pub fn put(source: &Source, target: &Target, how: How, interest: &Interest) -> Result<(), Error> {
    let failed = |error| failure::of(target.path.display(), error);
    if target.existing.is_some() && !how.overwrite {
        return Err(failed(Errno::EXIST));
    }
    let (from, to) = (&source.entry, &target.entry);
    let mut copier = Copier { how, interest, levels: Vec::new(), path: source.path.clone() };
    if !source.is_directory() {
        let name = from.name.as_os_str().into_c_str().map_err(failed)?;
        return copier.one(&from.directory, &name, &to.directory, &to.name);
    }
    let directory = Directory::open_in(&from.directory, &from.name)
        .map_err(|error| failure::of(source.path.display(), error))?;
    match target.existing.as_ref().map(kind) {
        None => {}
        Some(FileType::Directory) => {
            let there = Directory::open_in(&to.directory, &to.name).map_err(failed)?;
            return copier.tree(directory, there, false);
        }
        Some(_) => return Err(failed(Errno::NOTDIR)),
    }
    let fresh = fresh_name();
    let made = make_open(&to.directory, &fresh).map_err(failed)?;
    let copied = copier.tree(directory, made, true);
    let placed =
        copied.and_then(|()| rename(&to.directory, &fresh, &to.directory, &to.name, false).map_err(failed));
    if placed.is_err() {
        // Best effort, and even if nobody waits: what is reported is why it did not get to its place.
        let _ = remove::tree(&to.directory, &fresh, &target.path, &Interest::default());
    }
    placed
}

/// A directory that is being copied into another.
struct Level {
    from: Directory,
    to: Directory,
    stat: Stat,
    /// Whether the other was made for it.
    is_made: bool,
    run: std::vec::IntoIter<Name>,
}

struct Copier<'a> {
    how: How,
    interest: &'a Interest,
    levels: Vec<Level>,
    /// Of what is copied, for people.
    path: PathBuf,
}

impl Copier<'_> {
    /// Copies all that is in one directory into another.
    fn tree(&mut self, from: Directory, to: Directory, is_made: bool) -> Result<(), Error> {
        self.descend(from, to, is_made)?;
        while let Some(level) = self.levels.last_mut() {
            self.interest.check()?;
            if let Some(name) = level.run.next() {
                self.path.push(name.name.to_string_lossy().as_ref());
                self.step(&name)?;
                continue;
            }
            let run =
                level.from.next_run(RUN_BYTES).map_err(|error| failure::of(self.path.display(), error))?;
            if run.is_empty() { self.leave()? } else { level.run = run.into_iter() }
        }
        Ok(())
    }

    /// Copies one name of the deepest directory, or goes into it.
    fn step(&mut self, name: &Name) -> Result<(), Error> {
        let Some(Level { from, to, .. }) = self.levels.last() else { return Ok(()) };
        if name.kind != FileType::Directory {
            let copied = self.one(from.fd(), &name.name, to.fd(), &*name.name);
            self.path.pop();
            return copied;
        }
        let failed = |error| failure::of(self.path.display(), error);
        let inner = Directory::open_in(from.fd(), &name.name).map_err(failed)?;
        let (made, is_made) = match make_open(to.fd(), &*name.name) {
            Err(Errno::EXIST) if self.how.overwrite => {
                (Directory::open_in(to.fd(), &name.name).map_err(failed)?, false)
            }
            made => (made.map_err(failed)?, true),
        };
        self.descend(inner, made, is_made)
    }

    fn descend(&mut self, from: Directory, to: Directory, is_made: bool) -> Result<(), Error> {
        if self.levels.len() >= DEPTH_MAX {
            let message = format!("{}: more than {DEPTH_MAX} levels deep", self.path.display());
            return Err(Error::new(ErrorCode::TooLarge, message));
        }
        let stat = rustix::fs::fstat(from.fd()).map_err(|error| failure::of(self.path.display(), error))?;
        self.levels.push(Level { from, to, stat, is_made, run: Vec::new().into_iter() });
        Ok(())
    }

    /// Gives the deepest directory what only fits a full one.
    fn leave(&mut self) -> Result<(), Error> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        if level.is_made {
            self.dress(level.to.fd(), &level.stat, DIRECTORY_MODE_BITS)
                .map_err(|error| failure::of(self.path.display(), error))?;
        }
        self.path.pop();
        Ok(())
    }

    /// Copies anything but a directory.
    fn one(&self, from: &OwnedFd, name: &CStr, to: &OwnedFd, place: impl Arg + Copy) -> Result<(), Error> {
        let failed = |error: Errno| failure::of(self.path.display(), error);
        let stat = rustix::fs::statat(from, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        match kind(&stat) {
            FileType::RegularFile => return self.file(from, name, to, place),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new()).map_err(failed)?;
                Unplaced::make(to, |fresh| rustix::fs::symlinkat(&target, to, fresh))
            }
            kind @ (FileType::Fifo | FileType::Socket) => {
                let mode = Mode::from_raw_mode(stat.st_mode & FILE_MODE_BITS);
                Unplaced::make(to, |fresh| rustix::fs::mknodat(to, fresh, kind, mode, 0))
            }
            _ => return Err(failure::invalid(format!("{}: not a regular file", self.path.display()))),
        }
        .and_then(|((), unplaced)| unplaced.place(place, self.how.overwrite))
        .map_err(failed)
    }

    fn file(&self, from: &OwnedFd, name: &CStr, to: &OwnedFd, place: impl Arg + Copy) -> Result<(), Error> {
        let failed = |error: std::io::Error| failure::of(self.path.display(), error);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let source =
            rustix::fs::openat(from, name, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let stat = rustix::fs::fstat(&source).map_err(|error| failed(error.into()))?;
        if kind(&stat) != FileType::RegularFile {
            return Err(failure::invalid(format!("{}: not a regular file", self.path.display())));
        }
        match check_writable(to, place) {
            Ok(()) | Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ISDIR) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let fresh = Fresh::create(to).map_err(|error| failed(error.into()))?;
        self.pour(source.into(), &fresh.file)?.map_err(failed)?;
        let dressed = self.dress(&fresh.file, &stat, FILE_MODE_BITS);
        dressed.and_then(|()| fresh.place(place, self.how.overwrite)).map_err(|error| failed(error.into()))
    }

    /// The outer error says that nobody waits any more.
    fn pour(&self, mut from: File, mut to: &File) -> Result<std::io::Result<()>, Error> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            self.interest.check()?;
            let length = match from.read(&mut piece) {
                Ok(0) => return Ok(Ok(())),
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Err(error)),
            };
            if let Err(error) = to.write_all(&piece[..length]) {
                return Ok(Err(error));
            }
        }
    }

    /// Gives a copy the permissions and times of what it is a copy of.
    fn dress(&self, copy: impl std::os::fd::AsFd, stat: &Stat, mode_bits: u32) -> rustix::io::Result<()> {
        if self.how.keep_owner {
            // Only root may give files away; for others the copy is theirs.
            let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            let _ = rustix::fs::fchown(&copy, Some(uid), Some(gid));
        }
        rustix::fs::fchmod(&copy, Mode::from_raw_mode(stat.st_mode & mode_bits))?;
        let time = |seconds: i64, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec as _),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
        };
        rustix::fs::futimens(&copy, &times)
    }
}
