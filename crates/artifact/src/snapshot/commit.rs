//! When a snapshot begins to count, while others collect.
//!
//! A store counts on packs of others, which a collection may be about to remove, in another process or on another node.
//! Neither waits for the other, and no clock decides. The store first shows what it counts on, an *intent*, and then
//! looks whether any of it is *doomed* or gone; the collection first says what is doomed, and then looks for manifests
//! and intents that count on it. Whatever the order, one of them sees the other: the store begins anew, or the pack
//! stays.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use super::Shared;
use super::error::{Error, Result};
use super::facts::Root;
use super::manifest::Manifest;
use super::objects::{Kind, PackName, Put};

/// How long an intent holds. A store that takes longer from there to its manifest begins to count no more.
pub(super) const INTENT_TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// What came of it.
pub(super) enum Outcome {
    /// There is a snapshot, of so many bytes of packs, and of its manifest.
    Stored(Root, u64, u64),
    /// There is none.
    Gone(Root, Gone),
}

/// What a store counted on in vain.
pub(super) struct Gone {
    /// Packs that are gone, or will be.
    pub packs: BTreeSet<PackName>,
    /// All that it counted on.
    pub all: BTreeSet<PackName>,
}

/// Makes a snapshot of a manifest, once `finish` has seen to it that its own packs are there to stay.
pub(super) fn commit(
    shared: &Shared,
    manifest: &Manifest,
    finish: impl FnOnce() -> Result<u64> + Send,
) -> Result<Outcome> {
    let objects = &shared.objects;
    let (root, bytes) = manifest.seal(objects, &shared.keys)?;
    let manifest_bytes = bytes.len() as u64;
    let intent = root.to_string();
    let began = Instant::now();
    // What waits for the disk waits at the same time.
    let (finished, staged) = thread::scope(|scope| {
        let finishing = scope.spawn(finish);
        let staged = objects
            .put(Kind::Intents, &intent, bytes.clone(), Put::Passing)
            .and_then(|_| objects.stage(bytes));
        (finishing.join().unwrap_or_else(|panic| resume_unwind(panic)), staged)
    });
    let published = finished.and_then(|pack_bytes| {
        let all = manifest.packs();
        let packs = gone(shared, &all)?;
        if !packs.is_empty() {
            return Ok(Outcome::Gone(root, Gone { packs, all }));
        }
        if began.elapsed() > INTENT_TIME_MAX {
            return Err(Error::Overtaken { root, tries: 1 });
        }
        objects.publish(staged?, Kind::Manifests, &root.to_string())?;
        Ok(Outcome::Stored(root, pack_bytes, manifest_bytes))
    });
    if let Err(error) = objects.delete(Kind::Intents, &intent) {
        tracing::warn!(%error, "an intent stays until a later collection");
    }
    published
}

/// Those of these packs that a collection has removed, or says it will. In this order: a pack goes before its mark does.
fn gone(shared: &Shared, packs: &BTreeSet<PackName>) -> Result<BTreeSet<PackName>> {
    let doomed = shared.objects.list(Kind::Doomed)?;
    let doomed = doomed.iter().filter_map(|listed| listed.name.parse().ok());
    let mut gone: BTreeSet<_> = doomed.filter(|pack| packs.contains(pack)).collect();
    gone.extend(shared.objects.lacking(packs)?);
    Ok(gone)
}
