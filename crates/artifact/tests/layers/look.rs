//! All that can be seen of a tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};
use sha2::{Digest as _, Sha256};

/// What can be seen of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub kind: String,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    /// Names of the same inode, this one included.
    pub twins: Vec<PathBuf>,
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// Every entry of a tree, by its path from the root of it; the root is the empty path.
pub type Tree = BTreeMap<PathBuf, Look>;

pub fn look(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut inodes = BTreeMap::<u64, Vec<PathBuf>>::new();
    walk(root, Path::new(""), &mut tree, &mut inodes);
    for mut twins in inodes.into_values() {
        twins.sort();
        for twin in &twins {
            tree.get_mut(twin).unwrap().twins = twins.clone();
        }
    }
    tree
}

fn walk(root: &Path, path: &Path, tree: &mut Tree, inodes: &mut BTreeMap<u64, Vec<PathBuf>>) {
    let full = root.join(path);
    let metadata = fs::symlink_metadata(&full).unwrap();
    if !metadata.is_dir() {
        inodes.entry(metadata.ino()).or_default().push(path.to_owned());
    }
    tree.insert(
        path.to_owned(),
        Look {
            kind: kind(&full, &metadata),
            mode: metadata.mode() & 0o7777,
            owner: (metadata.uid(), metadata.gid()),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            twins: Vec::new(),
            xattrs: xattrs(&full),
        },
    );
    if metadata.is_dir() {
        for entry in fs::read_dir(&full).unwrap() {
            walk(root, &path.join(entry.unwrap().file_name()), tree, inodes);
        }
    }
}

fn kind(path: &Path, metadata: &fs::Metadata) -> String {
    let kind = metadata.file_type();
    if kind.is_file() {
        let hash = hex(&Sha256::digest(fs::read(path).unwrap()));
        return format!("file of {} bytes, {}", metadata.len(), &hash[..16]);
    }
    if kind.is_symlink() {
        return format!("link to {:?}", fs::read_link(path).unwrap());
    }
    match () {
        () if kind.is_dir() => "directory".into(),
        () if kind.is_fifo() => "fifo".into(),
        () if kind.is_char_device() => format!("character device {:x}", metadata.rdev()),
        () if kind.is_block_device() => format!("block device {:x}", metadata.rdev()),
        () => "something else".into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut list = vec![0; 64 * 1024];
    let length = llistxattr(path, list.as_mut_slice()).unwrap();
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut xattrs = BTreeMap::new();
    for name in names {
        let mut value = vec![0; 64 * 1024];
        let length = lgetxattr(path, name, value.as_mut_slice()).unwrap();
        value.truncate(length);
        xattrs.insert(String::from_utf8_lossy(name).into_owned(), value);
    }
    xattrs
}

/// What differs, a line each, in the order of paths.
pub fn differences(ours: &Tree, theirs: &Tree) -> Vec<String> {
    let paths: std::collections::BTreeSet<&PathBuf> = ours.keys().chain(theirs.keys()).collect();
    let mut differences = Vec::new();
    for path in paths {
        let (ours, theirs) = (ours.get(path), theirs.get(path));
        if ours != theirs {
            differences.push(format!("{path:?}\n  ours:   {ours:?}\n  theirs: {theirs:?}"));
        }
    }
    differences
}
