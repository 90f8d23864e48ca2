//! Taking away what nobody needs, while others store: see [`super::commit`] for why that does no harm.
//!
//! Two things only are told by age. A snapshot that is not among the live ones may be one that was stored after the
//! caller looked; and a pack that no manifest counts on may be of a store that has not come to its manifest. Both stay
//! for [`Collect::age_min`]. Were that too short, a store would notice, and begin anew.
//!
//! A pack of which less than half is needed is written anew first ([`super::repack`]): otherwise one chunk that stays the
//! same would keep all that was ever written beside it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::resume_unwind;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use super::Shared;
use super::commit::INTENT_TIME_MAX;
use super::error::Result;
use super::facts::Root;
use super::manifest::Manifest;
use super::objects::{Kind, Listed, PackName, Put};
use super::repack::repack;
use crate::prune::span;

/// How long what nobody needs stays, unless the caller says otherwise.
pub const AGE_MIN: Duration = Duration::from_secs(60 * 60);
/// An intent is of a store that has ended, however slow that was, and whatever the clocks say.
const INTENT_AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);

/// How often manifests and intents are looked for until there are no new ones.
const LOOKS_MAX: usize = 100;
/// What is needed of a pack is written anew when it is less than one byte of so many.
const NEEDED_ONE_OF: u64 = 2;

const _: () = assert!(INTENT_AGE_MIN.as_secs() > 2 * INTENT_TIME_MAX.as_secs());

/// What to collect.
#[derive(Debug, Clone)]
pub struct Collect<'a> {
    /// Snapshots that somebody counts on.
    pub live: &'a BTreeSet<Root>,
    /// How long what nobody needs stays; [`AGE_MIN`] is good.
    pub age_min: Duration,
    /// Whether it is only to be told.
    pub dry_run: bool,
}

/// What went, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Each object.
    pub gone: Vec<Gone>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes in packs that stay, for the sake of other chunks in them or because they are new.
    pub bytes_held: u64,
    /// Why no packs went, if that is so.
    pub problems: Vec<String>,
}

/// What an object was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GoneKind {
    /// A snapshot.
    Snapshot,
    /// Chunks.
    Pack,
    /// What a store was about to make.
    Intent,
    /// What was being written.
    Draft,
}

/// An object that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// What it was.
    pub kind: GoneKind,
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Why.
    pub reason: String,
}

/// Collects.
pub(super) fn collect(shared: &Shared, how: &Collect<'_>) -> Result<Collected> {
    let _one = shared.collecting.lock().unwrap_or_else(PoisonError::into_inner);
    let mut collection = Collection { shared, how, told: Collected::default() };
    let left = collection.snapshots()?;
    collection.given_up(Kind::Intents, GoneKind::Intent, INTENT_AGE_MIN.max(how.age_min))?;
    collection.given_up(Kind::Drafts, GoneKind::Draft, how.age_min)?;
    collection.packs(&left)?;
    Ok(collection.told)
}

struct Collection<'a> {
    shared: &'a Shared,
    how: &'a Collect<'a>,
    told: Collected,
}

/// Manifests and intents, which count on packs.
#[derive(Default)]
struct Counting {
    seen: BTreeSet<(bool, String)>,
    /// The chunks of each pack that are needed: where they begin, and their bytes.
    needed: HashMap<PackName, HashMap<u32, u32>>,
}

impl Counting {
    /// Bytes of a pack that are needed.
    fn bytes(&self, pack: &PackName) -> u64 {
        self.needed.get(pack).map_or(0, |chunks| chunks.values().copied().map(u64::from).sum())
    }
}

impl Collection<'_> {
    /// Takes away snapshots that are not live. Those that are left.
    fn snapshots(&mut self) -> Result<Vec<Listed>> {
        let listed = self.shared.objects.list(Kind::Manifests)?;
        let is_live = |listed: &Listed| listed.name.parse().is_ok_and(|root| self.how.live.contains(&root));
        let is_old = |listed: &Listed| age(listed) >= self.how.age_min;
        let (gone, left): (Vec<_>, _) =
            listed.into_iter().partition(|listed| !is_live(listed) && is_old(listed));
        for listed in &gone {
            let reason = format!("nobody counts on it; stored {} ago", span(age(listed)));
            self.take(Kind::Manifests, GoneKind::Snapshot, listed, reason)?;
        }
        Ok(left)
    }

    fn given_up(&mut self, kind: Kind, gone: GoneKind, age_min: Duration) -> Result<()> {
        for listed in self.shared.objects.list(kind)?.iter().filter(|listed| age(listed) >= age_min) {
            let reason = format!("whoever began it {} ago has ended", span(age(listed)));
            self.take(kind, gone, listed, reason)?;
        }
        Ok(())
    }

    /// Takes away packs that nothing counts on, and what is mostly garbage. Nothing, if what counts cannot be found out.
    fn packs(&mut self, left: &[Listed]) -> Result<()> {
        let Some(mut counting) = self.counted(left)? else { return Ok(()) };
        let wasteful = self.wasteful(&counting)?;
        if !wasteful.is_empty() && !self.how.dry_run {
            let roots: Vec<Root> = left.iter().filter_map(|listed| listed.name.parse().ok()).collect();
            repack(self.shared, &wasteful, &roots)?;
            let Some(again) = self.counted(left)? else { return Ok(()) };
            counting = again;
        }
        let packs = self.named_packs()?;
        let doomed = self.doomed(&packs, &mut counting)?;
        for name in &doomed {
            let listed = &packs[name];
            let age = span(age(listed));
            let reason = format!("no snapshot that is left has any of its chunks; written {age} ago");
            self.take(Kind::Packs, GoneKind::Pack, listed, reason)?;
        }
        let stays = packs.iter().filter(|(name, _)| !doomed.contains(name));
        let unneeded = stays.map(|(name, listed)| listed.bytes.saturating_sub(counting.bytes(name)));
        self.told.bytes_held = unneeded.sum();
        self.remove_marks()
    }

    /// What manifests that are left and intents count on.
    fn counted(&mut self, left: &[Listed]) -> Result<Option<Counting>> {
        let mut counting = Counting::default();
        let names = left.iter().map(|listed| (true, listed.name.clone())).collect();
        let is_counted = self.count(&mut counting, names) && self.count_more(&mut counting)?;
        Ok(is_counted.then_some(counting))
    }

    /// The packs that go, once everybody who may count on them has been told.
    fn doomed(
        &mut self,
        packs: &BTreeMap<PackName, Listed>,
        counting: &mut Counting,
    ) -> Result<BTreeSet<PackName>> {
        // What an earlier collection has marked, and not come to.
        let marks = self.shared.objects.list(Kind::Doomed)?;
        let marked: BTreeSet<PackName> = marks.iter().filter_map(|mark| mark.name.parse().ok()).collect();
        let is_old = |name, listed| age(listed) >= self.how.age_min || marked.contains(name);
        let old = packs.iter().filter(|(name, listed)| is_old(*name, *listed)).map(|(name, _)| *name);
        let mut doomed: BTreeSet<_> = old.filter(|name| !counting.needed.contains_key(name)).collect();
        if !self.how.dry_run {
            self.doom(&doomed)?;
            // Who counted on one of them before it saw the mark has shown it by now.
            if !self.count_more(counting)? {
                doomed.clear();
            }
            doomed.retain(|name| !counting.needed.contains_key(name));
        }
        Ok(doomed)
    }

    /// Packs that are no longer new, and mostly garbage.
    fn wasteful(&self, counting: &Counting) -> Result<BTreeSet<PackName>> {
        let packs = self.named_packs()?.into_iter();
        let wasteful = packs.filter(|(name, listed)| {
            let needed = counting.bytes(name);
            needed > 0 && needed * NEEDED_ONE_OF < listed.bytes && age(listed) >= self.how.age_min
        });
        Ok(wasteful.map(|(name, _)| name).collect())
    }

    fn named_packs(&self) -> Result<BTreeMap<PackName, Listed>> {
        let listed = self.shared.objects.list(Kind::Packs)?.into_iter();
        Ok(listed.filter_map(|listed| Some((listed.name.parse().ok()?, listed))).collect())
    }

    /// Says that these will go. Stores that begin here know nothing of them from now on.
    fn doom(&self, packs: &BTreeSet<PackName>) -> Result<()> {
        for pack in packs {
            self.shared.objects.put(Kind::Doomed, &pack.to_string(), Vec::new(), Put::Passing)?;
        }
        self.shared.index.forget(packs);
        Ok(())
    }

    /// Marks of an earlier collection too, which was interrupted.
    fn remove_marks(&self) -> Result<()> {
        if self.how.dry_run {
            return Ok(());
        }
        let marks = self.shared.objects.list(Kind::Doomed)?;
        marks.iter().try_for_each(|mark| self.shared.objects.delete(Kind::Doomed, &mark.name))
    }

    /// Counts what manifests and intents need that were not there before. False, with a problem told, if that cannot be
    /// found out.
    fn count_more(&mut self, counting: &mut Counting) -> Result<bool> {
        // An intent that is listed and then gone has become a manifest, which the next look finds.
        for _ in 0..LOOKS_MAX {
            let new = self.not_seen(counting)?;
            if new.is_empty() {
                return Ok(true);
            }
            if !self.count(counting, new) {
                return Ok(false);
            }
        }
        self.told.problems.push("no chunks were taken away: others store faster than is looked".into());
        Ok(false)
    }

    fn not_seen(&self, counting: &Counting) -> Result<Vec<(bool, String)>> {
        let mut names = Vec::new();
        // In this order: what moves on while this looks is seen in its new place.
        for (kind, is_manifest) in [(Kind::Intents, false), (Kind::Manifests, true)] {
            let listed = self.shared.objects.list(kind)?.into_iter();
            names.extend(listed.map(|listed| (is_manifest, listed.name)));
        }
        // In a dry run, what would be gone is there.
        let gone: BTreeSet<_> = self.told.gone.iter().map(|gone| &gone.name).collect();
        names.retain(|seen| !counting.seen.contains(seen) && !gone.contains(&seen.1));
        Ok(names)
    }

    fn count(&mut self, counting: &mut Counting, names: Vec<(bool, String)>) -> bool {
        let read = read_all(self.shared, &names);
        counting.seen.extend(names);
        for manifest in read {
            match manifest {
                Ok(Some(manifest)) => {
                    for chunk in manifest.chunks() {
                        let pack = counting.needed.entry(chunk.at.pack).or_default();
                        pack.insert(chunk.at.offset, chunk.at.length);
                    }
                }
                Ok(None) => {}
                Err(error) => self.told.problems.push(format!("no chunks were taken away: {error}")),
            }
        }
        self.told.problems.is_empty()
    }

    fn take(&mut self, kind: Kind, gone: GoneKind, listed: &Listed, reason: String) -> Result<()> {
        if !self.how.dry_run {
            self.shared.objects.delete(kind, &listed.name)?;
            tracing::info!(kind = ?gone, name = listed.name, bytes = listed.bytes, reason, "nobody needs it");
        }
        self.told.bytes += listed.bytes;
        self.told.gone.push(Gone { kind: gone, name: listed.name.clone(), bytes: listed.bytes, reason });
        Ok(())
    }
}

/// The manifests of these names, and the intents; none where one has gone.
fn read_all(shared: &Shared, names: &[(bool, String)]) -> Vec<Result<Option<Manifest>>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut read = Vec::new();
        while let Some((is_manifest, name)) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            read.push(read_one(shared, *is_manifest, name));
        }
        read
    };
    thread::scope(|scope| {
        let readers = shared.objects.readers().min(names.len());
        let readers: Vec<_> = (0..readers).map(|_| scope.spawn(work)).collect();
        let read =
            readers.into_iter().map(|reader| reader.join().unwrap_or_else(|panic| resume_unwind(panic)));
        read.flatten().collect()
    })
}

fn read_one(shared: &Shared, is_manifest: bool, name: &str) -> Result<Option<Manifest>> {
    let kind = if is_manifest { Kind::Manifests } else { Kind::Intents };
    // What has another name is not ours, and counts on nothing.
    let Ok(root) = name.parse() else { return Ok(None) };
    match shared.objects.get(kind, name)? {
        Some(bytes) => Manifest::open(&shared.objects, &shared.keys, &root, bytes).map(Some),
        None => Ok(None),
    }
}

/// How long an object has been as it is. One that claims to be of tomorrow is new.
fn age(listed: &Listed) -> Duration {
    SystemTime::now().duration_since(listed.modified).unwrap_or_default()
}
