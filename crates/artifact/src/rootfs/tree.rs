//! What we do ourselves to a tree that strangers have written to.
//!
//! Nothing in such a tree is trusted: a path in it is resolved with the tree
//! as its root, so that a link in it cannot lead us onto the host.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps, llistxattr, lremovexattr, open, openat,
    openat2, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::erofs::Times;
use super::xattrs;
use crate::{Error, Result};

/// Writes a file (mode 0644, owned by root) at an absolute path of the tree, over whatever has the name.
pub(super) fn write_file(tree: &Path, path: &str, content: &str) -> Result<()> {
    let failed = |errno: Errno| Error::io("write into the tree:", Path::new(path))(errno.into());
    let file = create_file(tree, Path::new(path)).map_err(failed)?;
    let mut file = fs::File::from(file);
    std::io::Write::write_all(&mut file, content.as_bytes()).map_err(Error::io("write", Path::new(path)))
}

fn create_file(tree: &Path, path: &Path) -> rustix::io::Result<OwnedFd> {
    let (parent, name) = path.parent().zip(path.file_name()).ok_or(Errno::INVAL)?;
    let root = open(tree, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = openat2(root, parent, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    match unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&dir, name, flags, Mode::empty())?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
    Ok(file)
}

/// What a tree was found to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Extended attributes that are an image's.
    pub has_xattrs: bool,
    /// Others, which could not be removed.
    pub labels_stay: bool,
}

/// Makes times what they should be, and removes extended attributes that are not an image's. Follows no link and leaves
/// no file system.
pub(super) fn settle(tree: &Path, times: Times) -> Result<Settled> {
    let device = fs::symlink_metadata(tree).map_err(Error::io("look at", tree))?.dev();
    let mut settled = Settled::default();
    settle_below(tree, times, device, &mut settled)?;
    Ok(settled)
}

fn settle_below(path: &Path, times: Times, device: u64, settled: &mut Settled) -> Result<()> {
    let metadata = fs::symlink_metadata(path).map_err(Error::io("look at", path))?;
    if metadata.dev() != device {
        return Ok(());
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(Error::io("read directory", path))? {
            settle_below(&entry.map_err(Error::io("read directory", path))?.path(), times, device, settled)?;
        }
    }
    settle_xattrs(path, settled)?;
    match times {
        Times::UpTo(epoch) if (metadata.mtime(), metadata.mtime_nsec()) > (epoch as i64, 0) => {
            set_time(path, epoch as i64)
        }
        // To `mkfs.erofs` it would be the furthest future.
        _ if metadata.mtime() < 0 => set_time(path, 0),
        _ => Ok(()),
    }
}

fn settle_xattrs(path: &Path, settled: &mut Settled) -> Result<()> {
    let mut list = [0; xattrs::LIST_BYTES_MAX];
    let length = match llistxattr(path, &mut list[..]) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(()),
        length => length.map_err(|errno| Error::io("list the attributes of", path)(errno.into()))?,
    };
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if xattrs::is_kept(name) {
            settled.has_xattrs = true;
        } else if let Err(errno) = lremovexattr(path, name) {
            tracing::debug!(path = %path.display(), name = %name.escape_ascii(), %errno, "an attribute stays");
            settled.labels_stay = true;
        }
    }
    Ok(())
}

fn set_time(path: &Path, seconds: i64) -> Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| Error::io("set the time of", path)(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_in_the_tree_cannot_lead_a_write_onto_the_host() {
        let host = tempfile::tempdir().unwrap();
        let tree = host.path().join("tree");
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(host.path().join("secret"), "untouched").unwrap();
        symlink(host.path().join("secret"), tree.join("etc/resolv.conf")).unwrap();
        symlink("../../..", tree.join("up")).unwrap();

        write_file(&tree, "/etc/resolv.conf", "ours").unwrap();
        assert_eq!(fs::read_to_string(tree.join("etc/resolv.conf")).unwrap(), "ours");
        write_file(&tree, "/up/secret", "ours").unwrap();
        assert_eq!(fs::read_to_string(tree.join("secret")).unwrap(), "ours");
        assert_eq!(fs::read_to_string(host.path().join("secret")).unwrap(), "untouched");
    }

    #[test]
    fn later_times_are_set_back_and_earlier_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("sub")).unwrap();
        symlink("/nowhere", tree.join("sub/link")).unwrap();
        fs::write(tree.join("old"), "").unwrap();
        let old = fs::File::open(tree.join("old")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(5_500)).unwrap();

        assert_eq!(settle(&tree, Times::Kept).unwrap(), Settled::default());
        assert!(fs::metadata(&tree).unwrap().mtime() > 1000);
        settle(&tree, Times::UpTo(1000)).unwrap();
        let mtime = |path: &str| fs::symlink_metadata(tree.join(path)).unwrap().mtime();
        assert_eq!([".", "sub", "sub/link", "old"].map(mtime), [1000, 1000, 1000, 5]);
    }

    #[test]
    fn attributes_of_the_host_go_and_those_of_the_image_stay() {
        let dir = tempfile::tempdir().unwrap();
        let set = |name: &str| {
            rustix::fs::lsetxattr(dir.path(), name, b"x", rustix::fs::XattrFlags::empty()).unwrap();
        };
        set("trusted.overlay.opaque");
        assert_eq!(settle(dir.path(), Times::Kept).unwrap(), Settled::default());
        set("user.note");
        set("security.ima");
        assert_eq!(
            settle(dir.path(), Times::Kept).unwrap(),
            Settled { has_xattrs: true, labels_stay: false }
        );
        let mut list = [0; 100];
        let length = llistxattr(dir.path(), &mut list[..]).unwrap();
        assert_eq!(&list[..length], b"user.note\0");
    }
}
