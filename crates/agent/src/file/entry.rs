//! An entry of a directory, itself: where a path ends in a link, the link.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::{Errno, Result};

use crate::root::Root;

/// A name in a directory.
pub struct Entry {
    /// The directory.
    pub directory: OwnedFd,
    /// The name; `.` where the path ends in no name of its own: `/`, `..`.
    pub name: OsString,
}

impl Entry {
    /// The entry that `path`, which is absolute, means. Its directory must exist, it need not.
    pub fn find(root: &Root, path: &Path) -> Result<Self> {
        let (parent, name) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => (parent, name.to_owned()),
            _ => (path, ".".into()),
        };
        Ok(Self { directory: root.open_dir(parent)?, name })
    }

    /// What is there; a link is not followed.
    pub fn stat(&self) -> Result<Stat> {
        rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Whether the path ended in a name.
    pub fn is_named(&self) -> bool {
        self.name != "."
    }
}

/// What kind of thing this is.
pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether these are the same file.
pub fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// How `path` is shown: absolute, and without `.` and `..`.
pub fn shown(root: &Root, path: &Path) -> PathBuf {
    if !path.components().any(|component| component == Component::ParentDir) {
        return path.components().collect();
    }
    // Only the kernel knows where `..` leads behind a link.
    let (directory, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => (parent, Path::new(name)),
        _ => (path, Path::new("")),
    };
    let real = root.open(directory, OFlags::PATH).and_then(|fd| root.path_of(&fd));
    real.map_or_else(|_: Errno| path.to_owned(), |real| real.join(name).components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_without_detours() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("/a/b", dir.path().join("link")).unwrap();
        let root = Root::confined(dir.path()).unwrap();
        for (path, expect) in [
            ("/a/./b/", "/a/b"),
            ("/a/b/../x", "/a/x"),
            ("/link/..", "/a"),
            ("/link/../../..", "/"),
            ("/no/../x", "/no/../x"),
        ] {
            assert_eq!(shown(&root, Path::new(path)), Path::new(expect), "{path}");
        }
    }

    #[test]
    fn a_link_is_an_entry_itself() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/gone", dir.path().join("link")).unwrap();
        let root = Root::confined(dir.path()).unwrap();
        let entry = |path: &str| Entry::find(&root, Path::new(path)).unwrap();
        assert_eq!(kind(&entry("/link").stat().unwrap()), FileType::Symlink);
        assert_eq!(entry("/none").stat().unwrap_err(), Errno::NOENT);
        for unnamed in ["/", "/..", "/."] {
            assert!(
                !entry(unnamed).is_named()
                    && is_same(&entry(unnamed).stat().unwrap(), &entry("/").stat().unwrap())
            );
        }
    }
}
