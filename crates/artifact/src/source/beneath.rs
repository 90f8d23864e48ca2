//! Files below the directory that the operator names for images. Links that lead out of it lead nowhere.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::oci::Settings;
use crate::oci::failure::{Pulled, disk, invalid, not_found, refused};

/// Opens what a source names, if it is where images may be.
pub(super) fn open(settings: &Settings, source: &str, path: &str) -> Pulled<File> {
    let Some(root) = &settings.image_path else {
        return Err(refused(format!(
            "this node takes no images from its disk (`{source}`); the operator can allow it with --image-path"
        )));
    };
    let outside = || refused(format!("`{source}` is not below {}, where images may be", root.display()));
    let inner = Path::new(path).strip_prefix(root).map_err(|_| outside())?;
    let inner = if inner.as_os_str().is_empty() { Path::new(".") } else { inner };
    let dir = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let dir = dir.map_err(|error| disk(&format!("open {}", root.display()), &error.into()))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(&dir, inner, flags, Mode::empty(), resolve) {
        Ok(file) => Ok(file.into()),
        Err(rustix::io::Errno::XDEV) => Err(outside()),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
            Err(not_found(format!("there is no `{source}` on the node")))
        }
        Err(error) => Err(disk(&format!("open `{source}`"), &error.into())),
    }
}

/// Opens a file of a directory that was opened so. None if it is not there.
pub(super) fn open_in(dir: &OwnedFd, name: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(dir, name, flags, Mode::empty(), resolve) {
        Ok(file) => Ok(Some(file.into())),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// All of a small file.
pub(super) fn read_bounded(what: &str, file: &File, bytes_max: usize) -> Pulled<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(bytes_max as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| disk(&format!("read {what}"), &error))?;
    if bytes.len() > bytes_max {
        return Err(invalid(format!("{what} has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// The name of a blob in a layout.
pub(super) fn blob_path(hex: &str) -> PathBuf {
    Path::new("blobs/sha256").join(hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_outside_the_directory_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("images");
        std::fs::create_dir_all(root.join("inner")).unwrap();
        std::fs::write(root.join("it.tar"), "it").unwrap();
        std::fs::write(dir.path().join("secret"), "s3cret").unwrap();
        symlink("../secret", root.join("up")).unwrap();
        symlink(dir.path().join("secret"), root.join("away")).unwrap();
        symlink("../it.tar", root.join("inner/link")).unwrap();
        let settings = Settings { image_path: Some(root.clone()), ..Settings::default() };
        let check =
            |path: &Path| open(&settings, "it", path.to_str().unwrap()).map_err(|failure| failure.message);
        for good in ["it.tar", "inner/link", "inner/../it.tar", ""] {
            check(&root.join(good)).unwrap();
        }
        for bad in ["up", "away", "../secret", "inner/../../secret"] {
            assert!(check(&root.join(bad)).unwrap_err().contains("where images may be"), "{bad}");
        }
        assert!(check(&dir.path().join("secret")).unwrap_err().contains("where images may be"));
        assert!(check(&root.join("other")).unwrap_err().contains("there is no"));
        let closed = open(&Settings::default(), "it", "/etc/passwd").unwrap_err().message;
        assert!(closed.contains("--image-path"), "{closed}");
    }
}
