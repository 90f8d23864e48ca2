//! Entries become files.

use std::io::BufRead;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, linkat, makedev, mkdirat, mknodat, openat, statat, symlinkat,
};
use rustix::io::Errno;

use super::tree::Tree;
use super::whiteout::{self, Meaning};
use super::{Fault, Limits, content, metadata};
use crate::rootfs::layers::tar::{Entry, Kind, Walk};

/// What one layer was.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub entries: u64,
    pub xattrs_left_out: u64,
}

/// Applies layers, one after another.
#[derive(Debug)]
pub(super) struct Applier {
    tree: Tree,
    limits: Limits,
    layers: u64,
    entries: u64,
    file_bytes: u64,
}

impl Applier {
    /// For the empty tree that is our `/`.
    pub fn new(limits: &Limits) -> Result<Self, Fault> {
        let tree = Tree::new(limits)?;
        // Where no layer speaks of the root, its time is the same in every unpacking.
        let time = rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 };
        let root = tree.look_into(&[])?;
        super::parent::set_mtime(&root, time).map_err(Fault::call("set the time of the root"))?;
        Ok(Self { tree, limits: limits.clone(), layers: 0, entries: 0, file_bytes: 0 })
    }

    /// Applies one layer, up to its archive's end.
    pub fn apply(&mut self, archive: &mut impl BufRead) -> Result<Applied, Fault> {
        self.layers += 1;
        check("layers", self.layers, self.limits.layers_max)?;
        let mut walk = Walk::new(archive, &self.limits);
        let mut applied = Applied::default();
        while let Some(entry) = walk.next_entry()? {
            self.entries += 1;
            check("entries", self.entries, self.limits.entries_max)?;
            applied.entries += 1;
            applied.xattrs_left_out +=
                self.entry(&entry, &mut walk).map_err(|fault| fault.at(&entry.path))?;
        }
        self.tree.end_layer()?;
        Ok(applied)
    }

    /// After the last layer.
    pub fn finish(&mut self) -> Result<(), Fault> {
        self.tree.end_layer()
    }

    /// Applies one entry. How many extended attributes it had that are not kept.
    fn entry<R: BufRead>(&mut self, entry: &Entry, walk: &mut Walk<R>) -> Result<u64, Fault> {
        let path = parts(&entry.path);
        let meaning = whiteout::meaning(&path)?;
        if meaning == Meaning::Leftover {
            return Ok(0);
        }
        let Some((name, directory)) = path.split_last() else { return self.root(entry) };
        // A whiteout in a directory that is not there hides nothing, and makes nothing.
        let made_at = (meaning == Meaning::Plain).then(|| metadata::time(entry));
        if !self.tree.go_to(directory, made_at)? {
            return Ok(0);
        }
        match meaning {
            Meaning::Opaque => {
                self.lower(|tree, limits| whiteout::hide_all(tree, tree.here()?, limits)).map(|()| 0)
            }
            Meaning::Whiteout(hidden) => {
                self.lower(|tree, limits| whiteout::hide(tree, tree.here()?, hidden, limits)).map(|()| 0)
            }
            Meaning::Plain | Meaning::Leftover => {
                let left_out = self.place(name, entry, walk)?;
                self.tree.note(name)?;
                Ok(left_out)
            }
        }
    }

    /// Does something to the layers below, if there are some.
    fn lower(&self, hide: impl FnOnce(&Tree, &Limits) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.tree.is_first() { Ok(()) } else { hide(&self.tree, &self.limits) }
    }

    fn root(&mut self, entry: &Entry) -> Result<u64, Fault> {
        if entry.kind != Kind::Directory {
            return Err(Fault::new("the root can only be a directory"));
        }
        self.tree.leave()?;
        let root = self.tree.look_into(&[])?;
        metadata::clear_xattrs(&root)?;
        metadata::set_all(&root, entry)
    }

    fn place<R: BufRead>(&mut self, name: &[u8], entry: &Entry, walk: &mut Walk<R>) -> Result<u64, Fault> {
        match &entry.kind {
            Kind::File { size, segments } => {
                self.file_bytes = self.file_bytes.saturating_add(*size);
                check("bytes of files", self.file_bytes, self.limits.file_bytes_max)?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = self.make(name, |here| openat(here, name, flags, metadata::mode(entry)))?;
                match segments {
                    None => content::write_all(walk, &file)?,
                    Some(segments) => content::write_segments(walk, &file, *size, segments)?,
                }
                metadata::set_new_file(&file, entry, self.tree.here()?.gives_group)
            }
            Kind::Directory => self.directory(name, entry),
            Kind::HardLink(target) => self.hard_link(name, target),
            Kind::Symlink(target) => {
                self.make(name, |here| symlinkat(target.as_slice(), here, name))?;
                metadata::set_unopened(self.tree.here()?, name, entry, true)
            }
            Kind::Character { major, minor } => {
                self.node(name, entry, FileType::CharacterDevice, makedev(*major, *minor))
            }
            Kind::Block { major, minor } => {
                self.node(name, entry, FileType::BlockDevice, makedev(*major, *minor))
            }
            Kind::Fifo => self.node(name, entry, FileType::Fifo, 0),
        }
    }

    /// A directory that is there stays with what is in it, and gets the entry's owner, mode and time.
    fn directory(&mut self, name: &[u8], entry: &Entry) -> Result<u64, Fault> {
        let here = self.tree.here()?;
        let below = match here.open_below(name) {
            Ok(below) => {
                metadata::clear_xattrs(&below)?;
                below
            }
            Err(_) => {
                self.make(name, |here| mkdirat(here, name, Mode::RWXU))?;
                self.tree.here()?.open_below(name).map_err(Fault::call("open it"))?
            }
        };
        metadata::set_all(&below, entry)
    }

    fn node(&self, name: &[u8], entry: &Entry, kind: FileType, device: u64) -> Result<u64, Fault> {
        self.make(name, |here| mknodat(here, name, kind, Mode::empty(), device))?;
        metadata::set_unopened(self.tree.here()?, name, entry, false)
    }

    /// Another name of what this layer or one below has.
    fn hard_link(&self, name: &[u8], target: &[u8]) -> Result<u64, Fault> {
        let target = parts(target);
        let (target_name, above) =
            target.split_last().ok_or_else(|| Fault::new("the root can have no other name"))?;
        let find = |fault: Fault| Fault::new(format!("the link's target: {}", fault.reason));
        let target_directory = self.tree.look_into(above).map_err(find)?;
        let look = |directory, name: &[u8]| statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        let here = self.tree.here()?;
        let target = look(&target_directory, target_name).map_err(Fault::call("find the link's target"))?;
        if FileType::from_raw_mode(target.st_mode) == FileType::Directory {
            return Err(Fault::new("a directory can have no other name"));
        }
        // Removing what is there would remove the target.
        if look(here, name).is_ok_and(|there| there.st_ino == target.st_ino) {
            return Ok(0);
        }
        let link = |here: &_| linkat(&target_directory, *target_name, here, name, AtFlags::empty());
        self.make(name, link).map(|()| 0)
    }

    /// Makes something where we are; what has its name is removed first.
    fn make<T>(
        &self,
        name: &[u8],
        make: impl Fn(&super::parent::Directory) -> Result<T, Errno>,
    ) -> Result<T, Fault> {
        let here = self.tree.here()?;
        match make(here) {
            Err(Errno::EXIST) => {
                whiteout::remove(here, name, &self.limits)?;
                make(here).map_err(Fault::call("make it"))
            }
            outcome => outcome.map_err(Fault::call("make it")),
        }
    }
}

/// A path's parts, from the root. Like a path below `/`, it cannot go above it.
fn parts(path: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts
}

fn check(what: &str, count: u64, max: u64) -> Result<(), Fault> {
    if count <= max {
        return Ok(());
    }
    Err(Fault::new(format!("the image has more than {max} {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_above_the_root() {
        let check = |path: &str, expect: &[&str]| {
            let expect: Vec<&[u8]> = expect.iter().map(|part| part.as_bytes()).collect();
            assert_eq!(parts(path.as_bytes()), expect, "{path}");
        };
        check("a/b", &["a", "b"]);
        check("./a//b/.", &["a", "b"]);
        check("/a", &["a"]);
        check("../../a", &["a"]);
        check("a/../../b", &["b"]);
        check(".", &[]);
        check("/", &[]);
        check("..", &[]);
    }
}
