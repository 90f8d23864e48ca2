//! One entry: what a header and the records before it say together.

use super::header::{Block, Format};
use super::pax::{self, Extensions};
use super::sparse::{self, Segment};
use crate::rootfs::layers::{Fault, Limits};

/// How records of extended attributes begin.
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// An entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, as it was written.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions, with set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
    /// When it was changed: seconds since 1970, and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes: names and values.
    pub xattrs: Vec<Xattr>,
}

/// The name and the value of an extended attribute.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file; [`super::Walk::piece`] has what it holds.
    File {
        /// Its length, holes included.
        size: u64,
        /// Where the content goes, if the file has holes.
        segments: Option<Vec<Segment>>,
    },
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// Another name of an entry of this name.
    HardLink(Vec<u8>),
    /// A character device.
    Character {
        /// Its driver.
        major: u32,
        /// Its number there.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its driver.
        major: u32,
        /// Its number there.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

impl Entry {
    pub(super) fn new(block: &Block, extensions: &Extensions, limits: &Limits) -> Result<Self, Fault> {
        let path = name(block, extensions);
        let at = |fault: Fault| fault.at(&path);
        check_path(&path, limits, "the name").map_err(at)?;
        let kind = kind(block, extensions, limits, &path).map_err(at)?;
        let (uid, gid) = owner(block, extensions).map_err(at)?;
        let mtime = match extensions.pax.get("mtime") {
            Some(text) => pax::time(text).map_err(at)?,
            None => (block.mtime().map_err(at)?, 0),
        };
        let xattrs = xattrs(extensions, limits).map_err(at)?;
        let mode = block.mode().map_err(at)?;
        Ok(Self { path, kind, mode, uid, gid, mtime, xattrs })
    }

    /// Bytes that follow the header. Only files have some, whatever the header of another kind says.
    pub(super) fn stored_bytes(&self) -> u64 {
        match self.kind {
            Kind::File { size, .. } => size,
            _ => 0,
        }
    }
}

fn name(block: &Block, extensions: &Extensions) -> Vec<u8> {
    let pax = || extensions.pax.get(sparse::NAME).or_else(|| extensions.pax.get("path"));
    let long = extensions.long_name.as_deref().filter(|name| !name.is_empty());
    long.or_else(pax).map_or_else(|| block.name(), <[u8]>::to_vec)
}

fn kind(block: &Block, extensions: &Extensions, limits: &Limits, path: &[u8]) -> Result<Kind, Fault> {
    let link = || -> Result<Vec<u8>, Fault> {
        let long = extensions.long_link.as_deref().filter(|link| !link.is_empty());
        let link = long.or_else(|| extensions.pax.get("linkpath")).unwrap_or_else(|| block.link()).to_vec();
        check_path(&link, limits, "the link's target")?;
        Ok(link)
    };
    let file = || -> Result<Kind, Fault> {
        let size = extensions.pax.number("size")?.map_or_else(|| block.size(), Ok)?;
        Ok(Kind::File { size, segments: None })
    };
    match block.type_flag() {
        // Before there were types, a directory was known by how its name ends.
        0 if path.ends_with(b"/") => Ok(Kind::Directory),
        0 | b'0' | b'7' => file(),
        b'S' if block.format() == Format::Gnu => file(),
        b'1' => Ok(Kind::HardLink(link()?)),
        b'2' => Ok(Kind::Symlink(link()?)),
        b'3' => block.device().map(|(major, minor)| Kind::Character { major, minor }),
        b'4' => block.device().map(|(major, minor)| Kind::Block { major, minor }),
        b'5' => Ok(Kind::Directory),
        b'6' => Ok(Kind::Fifo),
        other => Err(Fault::new(format!("entries of type `{}` are not read", other.escape_ascii()))),
    }
}

fn check_path(path: &[u8], limits: &Limits, what: &str) -> Result<(), Fault> {
    if path.is_empty() {
        return Err(Fault::new(format!("{what} is empty")));
    }
    if path.len() > limits.path_bytes_max {
        let (length, max) = (path.len(), limits.path_bytes_max);
        return Err(Fault::new(format!("{what} has {length} bytes; {max} is the limit")));
    }
    if path.contains(&0) {
        return Err(Fault::new(format!("{what} holds a NUL")));
    }
    Ok(())
}

fn owner(block: &Block, extensions: &Extensions) -> Result<(u32, u32), Fault> {
    let id = |what, number: u64| match u32::try_from(number) {
        // The last one means "nobody said" to the kernel.
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(Fault::new(format!("{what} {number} is over what Linux has"))),
    };
    let uid = extensions.pax.number("uid")?.map_or_else(|| block.uid(), Ok)?;
    let gid = extensions.pax.number("gid")?.map_or_else(|| block.gid(), Ok)?;
    Ok((id("uid", uid)?, id("gid", gid)?))
}

fn xattrs(extensions: &Extensions, limits: &Limits) -> Result<Vec<Xattr>, Fault> {
    let mut xattrs: Vec<Xattr> = Vec::new();
    for (key, value) in &extensions.pax.0 {
        let Some(name) = key.strip_prefix(XATTR_PREFIX) else { continue };
        xattrs.retain(|(known, _)| known != name);
        xattrs.push((name.to_vec(), value.clone()));
    }
    let (bytes, max) =
        (xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>(), limits.xattr_bytes_max);
    if bytes > max {
        return Err(Fault::new(format!("its extended attributes have {bytes} bytes; {max} is the limit")));
    }
    Ok(xattrs)
}
