//! The directory that was asked for.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use wire::guest::Error;

use crate::failure;
use crate::file::directory::Directory;
use crate::file::entry::shown;
use crate::root::Root;

/// Which directory it is. No descriptor is held: the kernel tells the end of one only when nobody holds it.
pub struct Base {
    /// Where it is, links resolved.
    real: PathBuf,
    id: (u64, u64),
    /// Its path as it is told, without a `/` at the end.
    pub shown: Vec<u8>,
}

impl Base {
    /// Finds and opens it.
    pub fn find(root: &Root, path: &Path) -> Result<(Self, Directory), Error> {
        let failed = |error| failure::of(path.display(), error);
        let directory = Directory::open(root, path).map_err(failed)?;
        let real = root.path_of(directory.fd()).map_err(failed)?;
        let id = id(directory.fd()).map_err(failed)?;
        let mut shown = shown(root, path).into_os_string().into_encoded_bytes();
        if shown.ends_with(b"/") {
            shown.pop();
        }
        Ok((Self { real, id, shown }, directory))
    }

    /// Opens it again; `None` if it is not where it was.
    pub fn open(&self, root: &Root) -> Option<Directory> {
        let directory = Directory::open(root, &self.real).ok()?;
        (id(directory.fd()) == Ok(self.id)).then_some(directory)
    }
}

fn id(fd: &OwnedFd) -> rustix::io::Result<(u64, u64)> {
    rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}
