//! Which chunks are stored already, and which are just being stored.
//!
//! In memory, made of manifests: those that are there at the start, and those that this process stores and fetches. It
//! may know too little, and a chunk is stored twice; it may know what has gone meanwhile, which is found out before a
//! snapshot counts ([`super::commit`]).

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::keys::ChunkName;
use super::manifest::{Location, Manifest};
use super::objects::PackName;

/// Chunks that are known, at about 100 bytes each: 128 GiB of what is not the same.
pub(super) const CHUNKS_MAX: usize = 1 << 19;

/// All that is known.
#[derive(Default)]
pub(super) struct Index(Mutex<HashMap<ChunkName, Entry>>);

enum Entry {
    Known(Location),
    /// A store under way will say where it is.
    Coming(Arc<Flight>),
}

/// What a store is to do about a chunk.
pub(super) enum Claim {
    /// Nothing: it is there.
    Known(Location),
    /// Store it.
    Ours,
    /// Nothing: another of its threads does, or did.
    Twice,
    /// Ask again when that has ended.
    Others(Arc<Flight>),
}

/// A store under way, for those that wait for what it stores.
#[derive(Default)]
pub(super) struct Flight {
    is_over: Mutex<bool>,
    news: Condvar,
}

impl Flight {
    /// Waits until what it stored is there to stay, or will not be.
    pub(super) fn wait(&self) {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.news.wait_while(is_over, |is_over| !*is_over).unwrap_or_else(PoisonError::into_inner));
    }

    fn end(&self) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.news.notify_all();
    }
}

impl Index {
    /// Remembers where the chunks of a snapshot are.
    pub(super) fn learn(&self, manifest: &Manifest) {
        let mut entries = self.lock();
        for chunk in manifest.chunks() {
            if entries.len() >= CHUNKS_MAX {
                return;
            }
            // What a manifest says now is truer than what was known before.
            match entries.entry(chunk.name) {
                Slot::Occupied(slot) if matches!(slot.get(), Entry::Coming(_)) => {}
                slot => drop(slot.insert_entry(Entry::Known(chunk.at))),
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.lock().len() >= CHUNKS_MAX
    }

    /// Forgets what is in packs that have gone.
    pub(super) fn forget(&self, packs: &BTreeSet<PackName>) {
        self.lock().retain(|_, entry| match entry {
            Entry::Known(at) => !packs.contains(&at.pack),
            Entry::Coming(_) => true,
        });
    }

    /// Remembers where chunks of these packs are now.
    pub(super) fn moved(&self, packs: &BTreeSet<PackName>, places: &HashMap<ChunkName, Location>) {
        for (name, entry) in self.lock().iter_mut() {
            match (entry, places.get(name)) {
                (Entry::Known(at), Some(place)) if packs.contains(&at.pack) => *at = *place,
                _ => {}
            }
        }
    }

    /// Begins to claim chunks.
    pub(super) fn claims(&self) -> Claims<'_> {
        Claims { index: self, flight: Arc::default(), names: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChunkName, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chunks that one store is storing. Dropped, it stores them not.
pub(super) struct Claims<'a> {
    index: &'a Index,
    flight: Arc<Flight>,
    names: Mutex<Vec<ChunkName>>,
}

impl Claims<'_> {
    /// What to do about this chunk.
    pub(super) fn claim(&self, name: ChunkName) -> Claim {
        match self.index.lock().entry(name) {
            Slot::Vacant(slot) => {
                slot.insert(Entry::Coming(self.flight.clone()));
                self.names.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                Claim::Ours
            }
            Slot::Occupied(slot) => match slot.get() {
                Entry::Known(at) => Claim::Known(*at),
                Entry::Coming(flight) if Arc::ptr_eq(flight, &self.flight) => Claim::Twice,
                Entry::Coming(flight) => Claim::Others(flight.clone()),
            },
        }
    }

    /// They are there to stay, here.
    pub(super) fn publish(&self, places: &HashMap<ChunkName, Location>) {
        let mut entries = self.index.lock();
        for name in self.names.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            match places.get(&name) {
                Some(at) if entries.len() <= CHUNKS_MAX => entries.insert(name, Entry::Known(*at)),
                _ => entries.remove(&name),
            };
        }
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        let mut entries = self.index.lock();
        for name in self.names.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            entries.remove(&name);
        }
        drop(entries);
        self.flight.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: ChunkName = ChunkName([1; 32]);

    fn at(offset: u32) -> Location {
        Location { pack: PackName { batch: 7, number: 0 }, epoch: 0, offset, length: 100 }
    }

    #[test]
    fn a_chunk_is_stored_by_one_and_then_known_to_all() {
        let index = Index::default();
        let (one, other) = (index.claims(), index.claims());
        assert!(matches!(one.claim(NAME), Claim::Ours));
        assert!(matches!(one.claim(NAME), Claim::Twice));
        let Claim::Others(flight) = other.claim(NAME) else { panic!("two store it") };
        let waiting = std::thread::spawn(move || flight.wait());
        one.publish(&HashMap::from([(NAME, at(5))]));
        drop(one);
        waiting.join().unwrap();
        assert!(matches!(other.claim(NAME), Claim::Known(found) if found == at(5)));
        index.forget(&BTreeSet::from([at(5).pack]));
        assert!(matches!(other.claim(NAME), Claim::Ours));
    }

    #[test]
    fn what_one_gives_up_another_may_store() {
        let index = Index::default();
        let (one, other) = (index.claims(), index.claims());
        assert!(matches!(one.claim(NAME), Claim::Ours));
        drop(one);
        assert!(matches!(other.claim(NAME), Claim::Ours));
    }
}
