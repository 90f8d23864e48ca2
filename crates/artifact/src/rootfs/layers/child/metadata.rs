//! Who owns an entry, who may use it, when it was changed, and what else is attached to it.

use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, flistxattr,
    fremovexattr, fsetxattr, utimensat,
};
use rustix::io::Errno;

use super::Fault;
use super::parent::set_mtime;
use crate::rootfs::layers::tar::Entry;
use crate::rootfs::xattrs;

/// The bits of a mode that a change of the owner takes away.
const SET_ID_BITS: u32 = 0o6000;

pub(super) fn time(entry: &Entry) -> Timespec {
    Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1.into() }
}

pub(super) fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode)
}

/// Sets all of a file that was just made with its mode, by root, and is written. How many attributes were left out.
pub(super) fn set_new_file(fd: impl AsFd, entry: &Entry, gives_group: bool) -> Result<u64, Fault> {
    if entry.uid != 0 || entry.gid != 0 || gives_group {
        set_owner(&fd, entry)?;
        if entry.mode & SET_ID_BITS != 0 {
            set_mode(&fd, entry)?;
        }
    }
    set_rest(fd, entry)
}

/// Sets all of what is open, whatever it had. How many attributes were left out.
pub(super) fn set_all(fd: impl AsFd, entry: &Entry) -> Result<u64, Fault> {
    set_owner(&fd, entry)?;
    set_mode(&fd, entry)?;
    set_rest(fd, entry)
}

/// Sets all of what cannot be opened. It is no link if it has a mode of its own.
pub(super) fn set_unopened(
    directory: impl AsFd,
    name: &[u8],
    entry: &Entry,
    is_link: bool,
) -> Result<u64, Fault> {
    let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
    chownat(&directory, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(Fault::call("set its owner"))?;
    if !is_link {
        chmodat(&directory, name, mode(entry), AtFlags::empty()).map_err(Fault::call("set its mode"))?;
    }
    let times = Timestamps { last_access: time(entry), last_modification: time(entry) };
    utimensat(&directory, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(Fault::call("set its time"))?;
    // The kernel has none of those we keep for anything but files and directories.
    Ok(entry.xattrs.len() as u64)
}

/// Takes away the attributes that an older entry gave.
pub(super) fn clear_xattrs(fd: impl AsFd) -> Result<(), Fault> {
    let clear = || {
        let mut list = [0; xattrs::LIST_BYTES_MAX];
        let length = match flistxattr(&fd, &mut list[..]) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(()),
            length => length?,
        };
        let names = list[..length].split(|byte| *byte == 0).filter(|name| xattrs::is_kept(name));
        for name in names {
            fremovexattr(&fd, name)?;
        }
        Ok(())
    };
    clear().map_err(Fault::call("clear its extended attributes"))
}

fn set_owner(fd: impl AsFd, entry: &Entry) -> Result<(), Fault> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    fchown(fd, Some(uid), Some(gid)).map_err(Fault::call("set its owner"))
}

fn set_mode(fd: impl AsFd, entry: &Entry) -> Result<(), Fault> {
    fchmod(fd, mode(entry)).map_err(Fault::call("set its mode"))
}

/// File capabilities go with a change of the owner, so they come after it; the time comes last.
fn set_rest(fd: impl AsFd, entry: &Entry) -> Result<u64, Fault> {
    let mut left_out = 0;
    for (name, value) in &entry.xattrs {
        if !xattrs::is_kept(name) {
            left_out += 1;
            continue;
        }
        fsetxattr(&fd, name.as_slice(), value, XattrFlags::empty())
            .map_err(Fault::call(&format!("set attribute `{}`", name.escape_ascii())))?;
    }
    set_mtime(fd, time(entry)).map_err(Fault::call("set its time"))?;
    Ok(left_out)
}
