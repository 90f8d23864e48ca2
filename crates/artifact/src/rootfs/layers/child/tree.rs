//! The tree while a layer is applied: where we are in it, and what is of this layer.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use rustix::fs::Timespec;

use super::parent::{Directory, Finder};
use super::{Fault, Limits};

/// A tree.
#[derive(Debug)]
pub(super) struct Tree {
    finder: Finder,
    /// The directory of the last entry.
    here: Option<(Vec<Vec<u8>>, Directory)>,
    /// What this layer made or spoke of, by parent and name: layers below are hidden, not what is beside.
    ours: HashSet<u64>,
    hasher: RandomState,
    /// There is nothing below: nothing can be hidden.
    is_first: bool,
}

impl Tree {
    pub fn new(limits: &Limits) -> Result<Self, Fault> {
        let finder = Finder::new(limits)?;
        Ok(Self { finder, here: None, ours: HashSet::new(), hasher: RandomState::new(), is_first: true })
    }

    /// What was made until now is below what comes.
    pub fn end_layer(&mut self) -> Result<(), Fault> {
        self.leave()?;
        self.ours = HashSet::new();
        self.is_first = false;
        Ok(())
    }

    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Goes to this directory. Whether it is there: where it is missing, it is made with this time.
    pub fn go_to(&mut self, path: &[&[u8]], made_at: Option<Timespec>) -> Result<bool, Fault> {
        let is_here = self.here.as_ref().is_some_and(|(here, _)| here == path);
        if !is_here {
            self.leave()?;
            let (ours, hasher) = (&mut self.ours, &self.hasher);
            let note = |inode: u64, name: &[u8]| {
                ours.insert(hasher.hash_one((inode, name)));
            };
            let Some(directory) = self.finder.find(path, made_at, note)? else { return Ok(false) };
            self.here = Some((path.iter().map(|part| part.to_vec()).collect(), directory));
        }
        Ok(true)
    }

    /// Where we went last.
    pub fn here(&self) -> Result<&Directory, Fault> {
        self.here.as_ref().map(|(_, directory)| directory).ok_or_else(|| Fault::new("it has no directory"))
    }

    /// Another directory, which must be there. We stay where we are.
    pub fn look_into(&self, path: &[&[u8]]) -> Result<Directory, Fault> {
        let directory = self.finder.find(path, None, |_, _| ())?;
        directory.ok_or_else(|| Fault::new("its directory is missing"))
    }

    /// Notes that this name in the directory where we are is of this layer.
    pub fn note(&mut self, name: &[u8]) -> Result<(), Fault> {
        if !self.is_first {
            let key = self.here()?.key(name, &self.hasher);
            self.ours.insert(key);
        }
        Ok(())
    }

    /// Whether this name is of this layer.
    pub fn is_ours(&self, directory: &Directory, name: &[u8]) -> bool {
        self.ours.contains(&directory.key(name, &self.hasher))
    }

    /// Goes nowhere: the directory where we were looks as it did.
    pub fn leave(&mut self) -> Result<(), Fault> {
        self.here.take().map_or(Ok(()), |(_, directory)| directory.leave())
    }
}
