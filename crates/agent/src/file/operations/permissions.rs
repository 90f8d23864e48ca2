//! Changing permissions and ownership.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use wire::guest::Error;

use crate::failure;
use crate::root::Root;
use crate::sandbox::users;

/// Permission bits there are.
const MODE_BITS: u32 = 0o7777;

/// What is to be changed.
pub struct Wish {
    /// Permission bits.
    pub mode: Option<u32>,
    /// A user's name or number.
    pub owner: Option<String>,
    /// A group's name or number.
    pub group: Option<String>,
}

/// Changes them. Links are followed.
pub fn set(root: &Root, path: &Path, wish: &Wish) -> Result<(), Error> {
    let failed = |error| failure::of(path.display(), error);
    let owner = wish.owner.as_deref().map(|spec| users::user_number(root, spec)).transpose()?;
    let group = wish.group.as_deref().map(|spec| users::group_number(root, spec)).transpose()?;
    let through = root.through(path, OFlags::empty()).map_err(failed)?;
    if owner.is_some() || group.is_some() {
        let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
        rustix::fs::chownat(CWD, &through.path, owner, group, AtFlags::empty()).map_err(failed)?;
    }
    // Last: a change of owner takes bits away.
    if let Some(mode) = wish.mode {
        let mode = Mode::from_raw_mode(mode & MODE_BITS);
        rustix::fs::chmodat(CWD, &through.path, mode, AtFlags::empty()).map_err(failed)?;
    }
    Ok(())
}
