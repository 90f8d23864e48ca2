//! Where files from a sandbox are written, by names that a stranger chose.
//!
//! Every directory is held open, and everything in it is made by a single name, of which a link is never followed. So
//! nothing a sandbox says leads out of the target, whatever links are in it: those of before, or ones put there meanwhile.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, mkdirat, open, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::entropy;

/// How a directory is opened below another.
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory, held open.
pub struct Directory(OwnedFd);

impl Directory {
    /// One the user named.
    ///
    /// # Errors
    /// When it is not there, or none.
    pub fn open(path: &Path) -> Result<Self> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let opened = open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Self(opened.with_context(|| path.display().to_string())?))
    }

    /// The one of this name in it, and whether it was made now. Until it is full it is its owner's alone.
    ///
    /// # Errors
    /// When something else has that name.
    pub fn directory(&self, name: &str) -> Result<(Self, bool)> {
        let name = single(name)?;
        let made = match mkdirat(&self.0, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let opened = openat(&self.0, name, DIRECTORY, Mode::empty());
        Ok((Self(opened.context("something else is there")?), made))
    }

    /// A file that will have this name in it.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn draft<'a>(&'a self, name: &'a str) -> Result<Draft<'a>> {
        let name = single(name)?;
        let random = u64::from_ne_bytes(entropy::bytes()?);
        let draft_name = format!(".atoll-{random:016x}.partial");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.0, &draft_name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Draft { directory: self, name, draft_name, file: File::from(file), is_whole: false })
    }

    /// Gives it its own permission bits, now that it is full.
    ///
    /// # Errors
    /// When it is not ours.
    pub fn close(self, mode: u32) -> Result<()> {
        Ok(fchmod(&self.0, Mode::from_raw_mode(mode))?)
    }
}

/// A file that is not yet whole. It is removed if it never is.
pub struct Draft<'a> {
    directory: &'a Directory,
    name: &'a str,
    draft_name: String,
    file: File,
    is_whole: bool,
}

impl Draft<'_> {
    /// Some more of it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Gives it its name and its permission bits; what had the name before is replaced, unless it is a directory.
    ///
    /// # Errors
    /// When something is in the way.
    pub fn finish(mut self, mode: u32) -> Result<()> {
        fchmod(&self.file, Mode::from_raw_mode(mode))?;
        renameat(&self.directory.0, &self.draft_name, &self.directory.0, self.name)?;
        self.is_whole = true;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = unlinkat(&self.directory.0, &self.draft_name, AtFlags::empty());
        }
    }
}

/// A name that means one thing in one directory.
///
/// # Errors
/// When it could mean anything else.
fn single(name: &str) -> Result<&str> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        bail!("{name:?} is no name of a file: a sandbox may not choose where it is written");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn write(directory: &Directory, name: &str, mode: u32) -> Result<()> {
        let mut draft = directory.draft(name)?;
        draft.write(b"new")?;
        draft.finish(mode)
    }

    #[test]
    fn no_name_leads_out_of_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        for name in ["", ".", "..", "../x", "/etc/x", "a/b", "a\0b"] {
            assert!(
                write(&directory, name, 0o600).is_err() && directory.directory(name).is_err(),
                "{name:?}"
            );
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_are_replaced_by_files_and_never_entered() {
        let (outside, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = outside.path().join("victim");
        std::fs::write(&victim, "old").unwrap();
        symlink(&victim, dir.path().join("file")).unwrap();
        symlink(outside.path(), dir.path().join("sub")).unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        write(&directory, "file", 0o640).unwrap();
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"new");
        assert_eq!(dir.path().join("file").symlink_metadata().unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(std::fs::read(&victim).unwrap(), b"old");
        assert!(directory.directory("sub").is_err());
    }

    #[test]
    fn what_never_becomes_whole_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("taken")).unwrap();
        drop(directory.draft("half").unwrap());
        assert!(write(&directory, "taken", 0o600).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
