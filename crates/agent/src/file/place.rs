//! Where a file that is written is to be.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::path::Arg;
use wire::guest::Error;

use crate::failure;
use crate::root::Root;

/// Permission bits of a new file.
const DEFAULT_MODE: u32 = 0o644;
/// Bits a caller may set.
const MODE_BITS: u32 = 0o777;
/// Links followed to where a file is, as the kernel has it (`path_resolution(7)`).
const LINKS_MAX: u32 = 40;

/// A name in a directory, and what is there now.
pub struct Place {
    /// The directory.
    pub directory: OwnedFd,
    /// The name.
    pub name: PathBuf,
    /// The file that is there.
    pub existing: Option<Stat>,
}

impl Place {
    /// Follows links to the place, and makes the directories that are missing on the way.
    pub fn find(root: &Root, path: &Path) -> Result<Self, Error> {
        let failed = |error: Errno| failure::of(path.display(), error);
        let mut at = path.to_owned();
        for _ in 0..LINKS_MAX {
            let (parent, name) = split(&at).ok_or_else(|| super::is_a_directory(path))?;
            let directory = root.make_dirs(&parent, None).map_err(failed)?;
            let existing = match rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) => None,
                Err(error) => return Err(failed(error)),
            };
            match existing.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
                None => {}
                Some(FileType::RegularFile) => check_writable(&directory, &name).map_err(failed)?,
                Some(FileType::Symlink) => {
                    let target = rustix::fs::readlinkat(&directory, &name, Vec::new()).map_err(failed)?;
                    // Relative to the directory, or a new path from the root.
                    at = parent.join(OsStr::from_bytes(target.as_bytes()));
                    continue;
                }
                Some(FileType::Directory) => return Err(super::is_a_directory(path)),
                Some(_) => return Err(super::not_a_regular_file(path)),
            }
            return Ok(Self { directory, name, existing });
        }
        Err(failed(Errno::LOOP))
    }

    /// Gives the new file the owner of the old one, as far as the user may, and its mode.
    pub fn dress(&self, file: &File, mode: Option<u32>) -> rustix::io::Result<()> {
        let fresh = rustix::fs::fstat(file)?;
        if let Some(old) = self.existing
            && (old.st_uid, old.st_gid) != (fresh.st_uid, fresh.st_gid)
        {
            // Only root may give files away; for others the file is theirs from now on.
            let _ =
                rustix::fs::fchown(file, Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid)));
        }
        let kept = self.existing.map_or(DEFAULT_MODE, |old| old.st_mode);
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode.unwrap_or(kept) & MODE_BITS))
    }
}

/// The directory and the name in it; `None` if the path can only mean a directory.
fn split(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.ends_with(b"/") || bytes.ends_with(b"/.") {
        return None;
    }
    Some((path.parent()?.to_owned(), path.file_name()?.into()))
}

/// Replacing a file asks nothing of the file itself. People expect it does: one that may not be written stays.
pub fn check_writable(directory: &OwnedFd, name: impl Arg) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        // A program that runs can be replaced, though not changed.
        Ok(_) | Err(Errno::TXTBSY) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_can_only_be_a_directory_has_no_name() {
        for path in ["/", "/a/", "/a/.", "/a/.."] {
            assert_eq!(split(Path::new(path)), None, "{path}");
        }
        assert_eq!(split(Path::new("/a/b")), Some(("/a".into(), "b".into())));
    }
}
