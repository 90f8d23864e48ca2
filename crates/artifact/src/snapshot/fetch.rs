//! Bringing a directory back.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::Shared;
use super::chunk::{CHUNK_BYTES, Unpacker, length_of, stretches};
use super::error::{Error, Result};
use super::facts::Root;
use super::keys::{ChunkName, Epoch};
use super::manifest::{Location, Manifest};
use super::objects::{PackName, Part};
use super::seal::Cipher;

/// Brings all files of a snapshot back. Where that fails, none of them is left.
pub(super) fn fetch(shared: &Shared, root: &Root, manifest: &Manifest, into: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(into);
    made.map_err(Error::io("create directory", into))?;
    let mut targets = Targets(Vec::new());
    for file in &manifest.files {
        targets.create(into.join(&file.name), file.bytes)?;
    }
    let fetch = Fetch::plan(shared, root, manifest, &targets.0)?;
    fetch.run()?;
    targets.keep();
    shared.index.learn(manifest);
    Ok(())
}

/// Files being made, which go again unless they are kept.
struct Targets(Vec<(PathBuf, File)>);

impl Targets {
    fn create(&mut self, path: PathBuf, bytes: u64) -> Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(Error::io("create", &path))?;
        let sized = file.set_len(bytes).map_err(Error::io("make room for", &path));
        self.0.push((path, file));
        sized
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        for (path, _) in &self.0 {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "a part of a snapshot could not be removed");
            }
        }
    }
}

/// A chunk to be read, and where it belongs.
struct Wanted {
    at: Location,
    name: ChunkName,
    /// Files and indices: the same may be in many places.
    places: Vec<(usize, u32)>,
    length: usize,
}

struct Fetch<'a> {
    shared: &'a Shared,
    root: &'a Root,
    targets: &'a [(PathBuf, File)],
    /// What lies beside each other in one pack.
    runs: Vec<Vec<Wanted>>,
    ciphers: BTreeMap<(u128, Epoch), Cipher>,
    next: AtomicUsize,
    has_failed: AtomicBool,
}

impl<'a> Fetch<'a> {
    fn plan(
        shared: &'a Shared,
        root: &'a Root,
        manifest: &Manifest,
        targets: &'a [(PathBuf, File)],
    ) -> Result<Self> {
        let mut wanted: BTreeMap<(Location, ChunkName), Wanted> = BTreeMap::new();
        let mut ciphers = BTreeMap::new();
        for (number, file) in manifest.files.iter().enumerate() {
            for chunk in &file.chunks {
                let (at, name) = (chunk.at, chunk.name);
                let length = length_of(file.bytes, chunk.index);
                let new = || Wanted { at, name, places: vec![], length };
                wanted.entry((at, name)).or_insert_with(new).places.push((number, chunk.index));
                if let std::collections::btree_map::Entry::Vacant(slot) =
                    ciphers.entry((at.pack.batch, at.epoch))
                {
                    slot.insert(shared.keys.chunks(&shared.objects, at.epoch, at.pack.batch)?);
                }
            }
        }
        let runs = runs(wanted.into_values(), shared.objects.part_bytes_max());
        let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Ok(Self { shared, root, targets, runs, ciphers, next, has_failed })
    }

    fn run(&self) -> Result<()> {
        thread::scope(|scope| {
            let readers = self.shared.objects.readers().min(self.runs.len());
            let readers: Vec<_> = (0..readers).map(|_| scope.spawn(|| self.work())).collect();
            let results = readers.into_iter().map(|reader| reader.join());
            results
                .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
                .fold(Ok(()), Result::and)
        })
    }

    fn work(&self) -> Result<()> {
        let worked = self.work_through();
        if worked.is_err() {
            self.has_failed.store(true, Ordering::Relaxed);
        }
        worked
    }

    fn work_through(&self) -> Result<()> {
        let mut unpacker = Unpacker::new()?;
        let mut buffer = Vec::new();
        while !self.has_failed.load(Ordering::Relaxed) {
            let Some(run) = self.runs.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            self.fetch(run, &mut unpacker, &mut buffer)?;
        }
        Ok(())
    }

    fn fetch(&self, run: &[Wanted], unpacker: &mut Unpacker, buffer: &mut Vec<u8>) -> Result<()> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
        let (pack, begin) = (first.at.pack, first.at.offset as usize);
        buffer.resize(last.at.offset as usize + last.at.length as usize - begin, 0);
        match self.shared.objects.read(pack, begin as u64, buffer)? {
            Part::Whole => {}
            Part::Short => return Err(Error::damaged(self.what(pack), "it is cut short")),
            Part::Missing => {
                return Err(Error::Missing {
                    what: self.what(pack),
                    place: self.shared.objects.place().to_owned(),
                });
            }
        }
        for wanted in run {
            let from = wanted.at.offset as usize - begin;
            let sealed = &mut buffer[from..from + wanted.at.length as usize];
            self.put_in_place(wanted, unpacker, sealed)?;
        }
        Ok(())
    }

    fn put_in_place(&self, wanted: &Wanted, unpacker: &mut Unpacker, sealed: &mut [u8]) -> Result<()> {
        let Location { pack, epoch, offset, .. } = wanted.at;
        let cipher = self.ciphers.get(&(pack.batch, epoch));
        let plain = match cipher {
            Some(cipher) => unpacker.unpack(cipher, &wanted.name, sealed, wanted.length),
            None => Err("it has no key"),
        };
        let why = |why| format!("the chunk at byte {offset}: {why}");
        let plain = plain.map_err(|what| Error::damaged(self.what(pack), why(what)))?;
        for (file, index) in &wanted.places {
            let (path, file) = &self.targets[*file];
            let begin = u64::from(*index) * CHUNK_BYTES as u64;
            for (at, bytes) in stretches(plain) {
                file.write_all_at(bytes, begin + at as u64).map_err(Error::io("write", path))?;
            }
        }
        Ok(())
    }

    fn what(&self, pack: PackName) -> String {
        format!("packs/{pack}, which snapshot {} needs,", self.root)
    }
}

/// Chunks in the order they lie in packs, as long as they touch and are not too much at once.
fn runs(wanted: impl Iterator<Item = Wanted>, bytes_max: usize) -> Vec<Vec<Wanted>> {
    let mut runs: Vec<Vec<Wanted>> = Vec::new();
    for next in wanted {
        let end = u64::from(next.at.offset) + u64::from(next.at.length);
        let goes_on =
            runs.last().and_then(|run| Some((run.first()?, run.last()?))).is_some_and(|(first, last)| {
                let touches = last.at.pack == next.at.pack
                    && u64::from(last.at.offset) + u64::from(last.at.length) == u64::from(next.at.offset);
                touches && end - u64::from(first.at.offset) <= bytes_max as u64
            });
        match runs.last_mut() {
            Some(run) if goes_on => run.push(next),
            _ => runs.push(vec![next]),
        }
    }
    runs
}
