//! The directory an entry goes into: found, made where it is missing, and left as it was found.
//!
//! Whoever adds to a directory changes when it was changed, so its time is put back when we are done with it. Entries
//! of one directory mostly follow each other: it is kept open between them.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, fstat, futimens, mkdirat,
    open, openat, openat2, readlinkat, statat,
};
use rustix::io::Errno;

use super::{Fault, Limits};

/// Links that are followed on the way to a directory: what the kernel follows.
const LINKS_MAX: usize = 40;
/// The mode of a directory that no entry spoke of.
const IMPLIED_MODE: u32 = 0o755;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory in the tree, open.
#[derive(Debug)]
pub(super) struct Directory {
    /// Its parts from the root, without links.
    path: Vec<Vec<u8>>,
    fd: OwnedFd,
    inode: u64,
    mtime: Timespec,
    /// Whether files made in it get its group.
    pub gives_group: bool,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Directory {
    fn new(path: Vec<Vec<u8>>, fd: OwnedFd) -> Result<Self, Fault> {
        let stat = fstat(&fd).map_err(Fault::call("look at its directory"))?;
        let mtime = mtime(&stat);
        Ok(Self { path, fd, inode: stat.st_ino, mtime, gives_group: stat.st_mode & 0o2000 != 0 })
    }

    /// Says when it was changed as it was before we came.
    pub fn leave(&self) -> Result<(), Fault> {
        set_mtime(&self.fd, self.mtime).map_err(Fault::call("set the time of its directory"))
    }

    /// What a name in it is remembered by.
    pub fn key(&self, name: &[u8], hasher: &RandomState) -> u64 {
        hasher.hash_one((self.inode, name))
    }

    /// One below it, which must not be a link.
    pub fn open_below(&self, name: &[u8]) -> Result<Self, Errno> {
        let fd = openat(&self.fd, name, DIRECTORY, Mode::empty())?;
        let stat = fstat(&fd)?;
        let path = [self.path.as_slice(), &[name.to_vec()]].concat();
        let mtime = mtime(&stat);
        Ok(Self { path, fd, inode: stat.st_ino, mtime, gives_group: stat.st_mode & 0o2000 != 0 })
    }
}

pub(super) fn mtime(stat: &Stat) -> Timespec {
    Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ }
}

pub(super) fn set_mtime(fd: impl AsFd, mtime: Timespec) -> rustix::io::Result<()> {
    futimens(fd, &Timestamps { last_access: mtime, last_modification: mtime })
}

/// Finds directories below the root.
#[derive(Debug)]
pub(super) struct Finder {
    root: OwnedFd,
    path_bytes_max: usize,
    depth_max: usize,
}

/// Somewhere below the root: the directories down to it, all open.
type Way = Vec<(Vec<u8>, OwnedFd)>;

impl Finder {
    pub fn new(limits: &Limits) -> Result<Self, Fault> {
        let root = open("/", DIRECTORY, Mode::empty()).map_err(Fault::call("open the root"))?;
        Ok(Self { root, path_bytes_max: limits.path_bytes_max, depth_max: limits.depth_max })
    }

    /// The directory at this path; links in it lead to where they lead with the tree as the root. Where parts of it are
    /// missing they are made if there is a time for them; else there is no directory. Says also which were made, by parent and
    /// name.
    pub fn find(
        &self,
        path: &[&[u8]],
        made_at: Option<Timespec>,
        mut made: impl FnMut(u64, &[u8]),
    ) -> Result<Option<Directory>, Fault> {
        let owned = || path.iter().map(|part| part.to_vec()).collect::<Vec<_>>();
        let joined = if path.is_empty() { b".".to_vec() } else { path.join(&b'/') };
        self.check_length(path.len(), joined.len())?;
        let resolve = ResolveFlags::IN_ROOT
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        match openat2(&self.root, joined, DIRECTORY, Mode::empty(), resolve) {
            Ok(fd) => Directory::new(owned(), fd).map(Some),
            Err(Errno::LOOP | Errno::NOENT | Errno::NOTDIR) => self.walk(path, made_at, &mut made),
            Err(errno) => Err(Fault::call("open its directory")(errno)),
        }
    }

    /// The same, a part at a time.
    fn walk(
        &self,
        path: &[&[u8]],
        made_at: Option<Timespec>,
        made: &mut impl FnMut(u64, &[u8]),
    ) -> Result<Option<Directory>, Fault> {
        let mut ahead: Vec<Vec<u8>> = path.iter().rev().map(|part| part.to_vec()).collect();
        let mut way = Way::new();
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => drop(way.pop()),
                _ => match openat(self.end(&way), part.as_slice(), DIRECTORY, Mode::empty()) {
                    Ok(fd) => way.push((part, fd)),
                    Err(Errno::LOOP | Errno::NOTDIR) => {
                        links += 1;
                        if !self.follow(&mut way, &part, &mut ahead, links)? {
                            return match made_at {
                                Some(_) => Err(Fault::new("what should be its directory is none")),
                                None => Ok(None),
                            };
                        }
                    }
                    Err(Errno::NOENT) => {
                        let Some(time) = made_at else { return Ok(None) };
                        let fd = self.make(&way, &part, time, made)?;
                        way.push((part, fd));
                    }
                    Err(errno) => return Err(Fault::call("open its directory")(errno)),
                },
            }
            self.check_length(way.len(), way.iter().map(|(part, _)| part.len() + 1).sum())?;
        }
        let fd =
            rustix::io::fcntl_dupfd_cloexec(self.end(&way), 0).map_err(Fault::call("open its directory"))?;
        Directory::new(way.into_iter().map(|(part, _)| part).collect(), fd).map(Some)
    }

    fn end<'a>(&'a self, way: &'a Way) -> BorrowedFd<'a> {
        way.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd())
    }

    /// Puts where a link leads before what is ahead. False if it is no link.
    fn follow(
        &self,
        way: &mut Way,
        part: &[u8],
        ahead: &mut Vec<Vec<u8>>,
        links: usize,
    ) -> Result<bool, Fault> {
        let stat = statat(self.end(way), part, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Fault::call("look at its directory"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(false);
        }
        if links > LINKS_MAX {
            return Err(Fault::new(format!("more than {LINKS_MAX} links lead to its directory")));
        }
        let target = readlinkat(self.end(way), part, Vec::new())
            .map_err(Fault::call("read a link to its directory"))?;
        let target = target.to_bytes();
        if target.starts_with(b"/") {
            way.clear();
        }
        ahead.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        self.check_length(0, ahead.iter().map(|part| part.len() + 1).sum())?;
        Ok(true)
    }

    fn make(
        &self,
        way: &Way,
        part: &[u8],
        time: Timespec,
        made: &mut impl FnMut(u64, &[u8]),
    ) -> Result<OwnedFd, Fault> {
        let parent = self.end(way);
        let make = || {
            let stat = fstat(parent)?;
            mkdirat(parent, part, Mode::from_raw_mode(IMPLIED_MODE))?;
            let fd = openat(parent, part, DIRECTORY, Mode::empty())?;
            if stat.st_mode & 0o2000 != 0 {
                rustix::fs::fchown(&fd, Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT))?;
                rustix::fs::fchmod(&fd, Mode::from_raw_mode(IMPLIED_MODE))?;
            }
            set_mtime(&fd, time)?;
            set_mtime(parent, mtime(&stat))?;
            Ok((stat.st_ino, fd))
        };
        let (inode, fd) = make().map_err(Fault::call("make its directory"))?;
        made(inode, part);
        Ok(fd)
    }

    fn check_length(&self, depth: usize, bytes: usize) -> Result<(), Fault> {
        if depth > self.depth_max {
            return Err(Fault::new(format!(
                "it is {depth} directories deep; {} is the limit",
                self.depth_max
            )));
        }
        if bytes > self.path_bytes_max {
            return Err(Fault::new(format!(
                "the path to it has {bytes} bytes; {} is the limit",
                self.path_bytes_max
            )));
        }
        Ok(())
    }
}
