//! A directory, read in runs of bounded size.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::{Errno, Result};
use rustix::path::Arg;

use crate::root::Root;

/// Bytes asked of the kernel at once.
const READ_BYTES: usize = 16 * 1024;
/// What a name in a run takes beside its own bytes.
const NAME_EXTRA_BYTES: usize = size_of::<Name>();

/// A name in a directory, and what it was when the directory was read.
pub struct Name {
    /// The name.
    pub name: CString,
    /// What it is.
    pub kind: FileType,
}

/// An open directory.
pub struct Directory(OwnedFd);

impl Directory {
    /// Opens the one at `path`; links are followed.
    pub fn open(root: &Root, path: &Path) -> Result<Self> {
        root.open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK).map(Self)
    }

    /// Opens the one of this name in `directory`; a link is not followed.
    pub fn open_in(directory: impl AsFd, name: impl Arg) -> Result<Self> {
        let flags =
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(directory, name, flags, Mode::empty()).map(Self)
    }

    /// For `*at` calls.
    pub fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Goes back to the beginning.
    pub fn rewind(&self) -> Result<()> {
        rustix::fs::seek(&self.0, SeekFrom::Start(0)).map(drop)
    }

    /// The next names, sorted: about so many bytes of them, at least one; none at the end.
    pub fn next_run(&self, bytes_max: usize) -> Result<Vec<Name>> {
        let mut buffer = vec![MaybeUninit::uninit(); READ_BYTES];
        let mut reader = RawDir::new(&self.0, &mut buffer);
        let (mut run, mut bytes) = (Vec::new(), 0);
        // What the kernel has given must be taken whole: it goes on behind it.
        while bytes < bytes_max || !reader.is_buffer_empty() {
            let Some(entry) = reader.next() else { break };
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            bytes += name.count_bytes() + NAME_EXTRA_BYTES;
            run.push(Name { name: name.to_owned(), kind: entry.file_type() });
        }
        run.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        for unknown in run.iter_mut().filter(|name| name.kind == FileType::Unknown) {
            unknown.kind = self.look(&unknown.name).unwrap_or(FileType::Unknown);
        }
        Ok(run)
    }

    /// What this name is, on file systems that do not say it in the directory.
    fn look(&self, name: &CStr) -> Result<FileType> {
        let stat = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(super::entry::kind(&stat))
    }
}

/// Whether a directory could not be entered because it is gone, closed, or no directory any more.
pub fn is_barred(error: Errno) -> bool {
    matches!(error, Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_in_one_run_and_runs_are_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let mut names: Vec<String> =
            (0..2000).map(|number| format!("name-{number:04}-{}", "x".repeat(60))).collect();
        names.iter().for_each(|name| std::fs::write(dir.path().join(name), "").unwrap());
        let directory = Directory::open(&Root::Machine, dir.path()).unwrap();
        let (mut found, mut runs) = (Vec::new(), 0);
        loop {
            let run = directory.next_run(1).unwrap();
            if run.is_empty() {
                break;
            }
            runs += 1;
            assert!(run.is_sorted_by(|one, other| one.name <= other.name));
            assert!(run.iter().all(|name| name.kind == FileType::RegularFile));
            found.extend(run.into_iter().map(|name| name.name.into_string().unwrap()));
        }
        assert!(runs > 5, "{runs} runs");
        found.sort();
        names.sort();
        assert_eq!(found, names);
        directory.rewind().unwrap();
        assert_eq!(directory.next_run(usize::MAX).unwrap().len(), 2000);
    }
}
