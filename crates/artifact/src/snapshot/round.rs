//! One go through chunks, by several threads, into packs of its own.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use super::chunk::{CHUNK_BYTES, Packer, is_zero, length_of};
use super::error::{Error, Result};
use super::extents::{Job, Source};
use super::index::{Claim, Claims, Flight};
use super::keys::{ChunkName, Epoch};
use super::manifest::Location;
use super::objects::Packs;
use super::seal::{Cipher, random};
use super::{Shared, workers};

/// The round. Unless [`Round::finish`] was good, what it wrote goes with it.
pub(super) struct Round<'a> {
    shared: &'a Shared,
    sources: &'a [Source],
    jobs: &'a [Job],
    cipher: Cipher,
    epoch: Epoch,
    packs: Packs<'a>,
    is_kept: AtomicBool,
    claims: Claims<'a>,
    next: AtomicUsize,
    has_failed: AtomicBool,
    bytes_new: AtomicU64,
}

/// What was found out about chunks.
#[derive(Default)]
pub(super) struct Found {
    pub placed: Vec<(Job, ChunkName, Location)>,
    /// Those that this round wrote.
    pub new: Vec<(ChunkName, Location)>,
    /// What has the same in it as one of those.
    pub twice: Vec<(Job, ChunkName)>,
    /// What others are storing.
    pub deferred: Vec<(Job, Arc<Flight>)>,
}

impl<'a> Round<'a> {
    pub(super) fn begin(shared: &'a Shared, sources: &'a [Source], jobs: &'a [Job]) -> Result<Self> {
        let (batch, epoch) = (u128::from_be_bytes(random()?), shared.keys.newest());
        Ok(Self {
            shared,
            sources,
            jobs,
            cipher: shared.keys.chunks(&shared.objects, epoch, batch)?,
            epoch,
            packs: shared.objects.packs(batch),
            is_kept: AtomicBool::new(false),
            claims: shared.index.claims(),
            next: AtomicUsize::new(0),
            has_failed: AtomicBool::new(false),
            bytes_new: AtomicU64::new(0),
        })
    }

    /// Reads all chunks, and writes those that nobody has.
    pub(super) fn run(&self) -> Result<Found> {
        let results: Vec<_> = thread::scope(|scope| {
            scope.spawn(|| self.packs.work_along());
            let workers = workers().min(self.jobs.len().max(1));
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| self.work())).collect();
            let results = workers.into_iter().map(|worker| worker.join()).collect();
            self.packs.close();
            results
        });
        let mut found = Found::default();
        for result in results {
            let part = result.unwrap_or_else(|panic| resume_unwind(panic))?;
            found.placed.extend(part.placed);
            found.new.extend(part.new);
            found.twice.extend(part.twice);
            found.deferred.extend(part.deferred);
        }
        Ok(found)
    }

    pub(super) fn bytes_new(&self) -> u64 {
        self.bytes_new.load(Ordering::Relaxed)
    }

    /// Waits until what was written is there to stay. How many bytes that is.
    pub(super) fn finish(&self) -> Result<u64> {
        let bytes = self.packs.finish()?;
        self.is_kept.store(true, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Others may use what is there to stay.
    pub(super) fn publish(&self, places: &HashMap<ChunkName, Location>) {
        self.claims.publish(places);
    }

    fn work(&self) -> Result<Found> {
        let worked = self.work_through();
        if worked.is_err() {
            self.has_failed.store(true, Ordering::Relaxed);
        }
        worked
    }

    fn work_through(&self) -> Result<Found> {
        let mut found = Found::default();
        let mut packer = Packer::new()?;
        let mut buffer = vec![0; CHUNK_BYTES];
        while !self.has_failed.load(Ordering::Relaxed) {
            let Some(job) = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            let plain = self.read(*job, &mut buffer)?;
            if !is_zero(plain) {
                self.place(*job, plain, &mut packer, &mut found)?;
            }
        }
        Ok(found)
    }

    fn read<'b>(&self, job: Job, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
        let source = &self.sources[job.file as usize];
        let plain = &mut buffer[..length_of(source.bytes, job.index)];
        let read = source.file.read_exact_at(plain, u64::from(job.index) * CHUNK_BYTES as u64);
        read.map_err(Error::io("read", Path::new(&source.name)))?;
        Ok(plain)
    }

    fn place(&self, job: Job, plain: &[u8], packer: &mut Packer, found: &mut Found) -> Result<()> {
        let name = self.shared.keys.chunk_name(plain);
        match self.claims.claim(name) {
            Claim::Known(at) => found.placed.push((job, name, at)),
            Claim::Twice => found.twice.push((job, name)),
            Claim::Others(flight) => found.deferred.push((job, flight)),
            Claim::Ours => {
                let at = self.write(packer.pack(&self.cipher, &name, plain)?)?;
                self.bytes_new.fetch_add(plain.len() as u64, Ordering::Relaxed);
                found.placed.push((job, name, at));
                found.new.push((name, at));
            }
        }
        Ok(())
    }

    fn write(&self, sealed: &[u8]) -> Result<Location> {
        let (pack, offset) = self.packs.append(sealed)?;
        let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        Ok(Location { pack, epoch: self.epoch, offset, length })
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        if !*self.is_kept.get_mut() {
            self.packs.abandon();
        }
    }
}
