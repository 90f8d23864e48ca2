//! The file systems sandboxes are made from.
//!
//! A disk is mounted without a place: a descriptor is all there is of it, so
//! the end of its last user is the end of the mount. An image has one, because
//! the engine's program wants a path.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags};

use crate::loops::Loop;

/// Mounts an EROFS image, read only, at `place/image`, and at `place/root` the same with the files of `skeleton`
/// added.
pub(crate) fn image(file: &Path, skeleton: &Path, place: &Path) -> io::Result<()> {
    let (image, root) = (place.join("image"), place.join("root"));
    fs::create_dir_all(&image)?;
    fs::create_dir_all(&root)?;
    // Straight from its file where the kernel can (Linux 6.12). Some stack only so many file systems, and a loop
    // device starts a new stack.
    let direct =
        mount("erofs", file, Access::ReadOnly).and_then(|mount| stack(&mount, &image, skeleton, &root));
    direct.or_else(|_| {
        let device = Loop::attach(file, true)?;
        stack(&mount("erofs", device.path(), Access::ReadOnly)?, &image, skeleton, &root)
    })
}

fn stack(mount: &OwnedFd, image: &Path, skeleton: &Path, root: &Path) -> io::Result<()> {
    rustix::mount::move_mount(mount.as_fd(), "", CWD, image, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let layers = format!("lowerdir={}:{}", escaped(skeleton)?, escaped(image)?);
    let layers = std::ffi::CString::new(layers)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    let stacked = rustix::mount::mount("atoll", root, "overlay", flags, layers.as_c_str());
    if stacked.is_err() {
        rustix::mount::unmount(image, UnmountFlags::DETACH)?;
    }
    Ok(stacked?)
}

/// A path as `lowerdir=` takes it (Documentation/filesystems/overlayfs.rst).
fn escaped(path: &Path) -> io::Result<String> {
    let text = path
        .to_str()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path that is not UTF-8"))?;
    Ok(text.replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,"))
}

/// A writable ext4 file system in a file.
pub(crate) fn ext4(disk: &Path) -> io::Result<OwnedFd> {
    let device = Loop::attach(disk, false)?;
    mount("ext4", device.path(), Access::Writable)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadOnly,
    Writable,
}

fn mount(kind: &str, source: &Path, access: Access) -> io::Result<OwnedFd> {
    use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", source)?;
    // Not `noexec`: the engine maps guests' programs from both, executable.
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    if access == Access::ReadOnly {
        fsconfig_set_flag(&context, "ro")?;
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    } else {
        // Deleted files give their room back to the host; nothing writes the inode tables of a disk nobody filled.
        fsconfig_set_flag(&context, "discard")?;
        fsconfig_set_flag(&context, "noinit_itable")?;
        // A disk is of no use after a crash of the host, so nobody waits until the host's own disk has it: not a
        // guest's fsync, and not the end of a sandbox.
        fsconfig_set_flag(&context, "nobarrier")?;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}
