//! What a file is, in the words of the protocol.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, Stat};
use rustix::path::Arg;
use wire::guest::file::FileInfo;

use super::entry::kind;
use crate::root::Root;
use crate::sandbox::users;

/// Permission bits that are shown.
const SHOWN_MODE_BITS: u32 = 0o7777;

/// The names of users and groups, as the sandbox has them now.
pub struct Owners {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Owners {
    /// Reads them.
    pub fn read(root: &Root) -> Self {
        Self { users: users::user_names(root), groups: users::group_names(root) }
    }
}

/// Describes the file `name` in `directory`, whose absolute path is `path`.
pub fn describe(directory: impl AsFd, name: impl Arg, stat: &Stat, path: &Path, owners: &Owners) -> FileInfo {
    let kind = kind(stat);
    let named = |names: &BTreeMap<u32, String>, number: u32| {
        names.get(&number).cloned().unwrap_or_else(|| number.to_string())
    };
    // One that was replaced meanwhile has no target.
    let target =
        (kind == FileType::Symlink).then(|| rustix::fs::readlinkat(directory, name, Vec::new()).ok());
    FileInfo {
        name: path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        path: path.to_string_lossy().into_owned(),
        is_dir: kind == FileType::Directory,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: format!("{:03o}", stat.st_mode & SHOWN_MODE_BITS),
        mtime: stat.st_mtime,
        owner: named(&owners.users, stat.st_uid),
        group: named(&owners.groups, stat.st_gid),
        is_symlink: kind == FileType::Symlink,
        link_target: target.flatten().map(|target| target.to_string_lossy().into_owned()),
    }
}
