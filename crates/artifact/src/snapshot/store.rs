//! Storing a directory.
//!
//! Threads read chunks, name them, and seal those that nobody has stored; what they seal goes to packs of this store
//! alone. When all are there to stay, the manifest is written, and only then is there a snapshot.

use std::collections::HashMap;
use std::path::Path;

use super::Shared;
use super::commit::{Outcome, commit};
use super::error::{Error, Result};
use super::extents::{Job, Source, jobs, sources};
use super::facts::{Facts, Root};
use super::keys::ChunkName;
use super::manifest::{Location, Manifest, Placed, StoredFile};
use super::round::Round;
use super::seal::random;

/// How often a store begins anew because what it shares with others was collected meanwhile.
const TRIES_MAX: u32 = 3;

/// What was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub root: Root,
    /// Bytes of its files, holes included.
    pub bytes_logical: u64,
    /// Bytes of what no other snapshot had. For the operator: to a tenant it would tell what others have.
    pub bytes_new: u64,
    /// Bytes that were written for it, packed and sealed, manifest included.
    pub bytes_stored: u64,
}

/// Stores all of a directory.
pub(super) fn store(shared: &Shared, dir: &Path, facts: &Facts) -> Result<Stored> {
    let sources = sources(dir)?;
    let jobs = jobs(&sources)?;
    let mut store =
        Store { shared, sources: &sources, facts, mine: HashMap::new(), bytes_new: 0, bytes_stored: 0 };
    let mut tries = 0;
    loop {
        tries += 1;
        match store.attempt(&jobs)? {
            Outcome::Stored(root, pack_bytes, manifest_bytes) => {
                store.bytes_stored += pack_bytes + manifest_bytes;
                return Ok(store.stored(root));
            }
            Outcome::Gone(root, _) if tries == TRIES_MAX => return Err(Error::Overtaken { root, tries }),
            Outcome::Gone(root, gone) => {
                tracing::info!(%root, packs = gone.packs.len(), "what it shares was collected: storing it again");
                // The last try shares nothing, so that nothing can be taken from it.
                shared.index.forget(if tries + 1 == TRIES_MAX { &gone.all } else { &gone.packs });
            }
        }
    }
}

struct Store<'a> {
    shared: &'a Shared,
    sources: &'a [Source],
    facts: &'a Facts,
    /// Where what this store wrote is.
    mine: HashMap<ChunkName, Location>,
    bytes_new: u64,
    bytes_stored: u64,
}

impl Store<'_> {
    /// Stores what is not stored, in rounds: what others are storing is asked for again when they are done.
    fn attempt(&mut self, jobs: &[Job]) -> Result<Outcome> {
        let (mut jobs, mut placed) = (jobs.to_vec(), Vec::new());
        loop {
            let round = Round::begin(self.shared, self.sources, &jobs)?;
            let found = round.run()?;
            self.bytes_new += round.bytes_new();
            self.mine.extend(found.new);
            placed.extend(found.placed);
            let twice = found.twice.into_iter();
            placed.extend(twice.filter_map(|(job, name)| Some((job, name, *self.mine.get(&name)?))));
            if found.deferred.is_empty() {
                let manifest = self.manifest(placed)?;
                return self.commit(&round, &manifest);
            }
            self.bytes_stored += round.finish()?;
            round.publish(&self.mine);
            drop(round);
            found.deferred.iter().for_each(|(_, flight)| flight.wait());
            jobs = found.deferred.into_iter().map(|(job, _)| job).collect();
        }
    }

    fn commit(&self, round: &Round<'_>, manifest: &Manifest) -> Result<Outcome> {
        commit(self.shared, manifest, || {
            let bytes = round.finish()?;
            round.publish(&self.mine);
            Ok(bytes)
        })
    }

    fn manifest(&self, placed: Vec<(Job, ChunkName, Location)>) -> Result<Manifest> {
        let named =
            |source: &Source| StoredFile { name: source.name.clone(), bytes: source.bytes, chunks: vec![] };
        let mut files: Vec<_> = self.sources.iter().map(named).collect();
        for (job, name, at) in placed {
            files[job.file as usize].chunks.push(Placed { index: job.index, name, at });
        }
        files.iter_mut().for_each(|file| file.chunks.sort_by_key(|chunk| chunk.index));
        let salt = u64::from_be_bytes(random()?);
        Ok(Manifest { salt, facts: self.facts.clone(), files })
    }

    fn stored(&self, root: Root) -> Stored {
        let bytes_logical = self.sources.iter().map(|source| source.bytes).sum();
        Stored { root, bytes_logical, bytes_new: self.bytes_new, bytes_stored: self.bytes_stored }
    }
}
