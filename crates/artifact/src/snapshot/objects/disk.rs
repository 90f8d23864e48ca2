//! A directory of this machine.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{FORMAT_FILE, Kind, Listed, PackName, Part, Put};
use crate::snapshot::error::{Error, Result};
use crate::snapshot::seal::random;

/// Bytes of a pack: a snapshot of a small sandbox is one file, and one wait for the disk.
const PACK_BYTES_MAX: u64 = 256 << 20;
/// Bytes that wait for the disk before it is told to begin: it writes while chunks are still being made.
const FLUSH_BYTES: u64 = 16 << 20;
/// Bytes read at once.
pub(super) const PART_BYTES_MAX: usize = 1 << 20;
/// Manifests read at the start.
pub(super) const LEARNT_MAX: usize = 4096;

/// Objects as files.
pub(in crate::snapshot) struct Disk {
    dir: PathBuf,
    place: String,
}

impl Disk {
    /// This directory, which is made if it is not there.
    pub(in crate::snapshot) fn open(dir: &Path) -> Result<Self> {
        for part in [Kind::Keys, Kind::Packs, Kind::Manifests, Kind::Intents, Kind::Doomed, Kind::Drafts] {
            let path = dir.join(part.dir());
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(Error::io("create directory", &path))?;
        }
        let dir = fs::canonicalize(dir).map_err(Error::io("find", dir))?;
        sync(&dir)?;
        Ok(Self { place: dir.display().to_string(), dir })
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(kind, name);
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.check_is_there(kind).map(|()| None),
            read => read.map(Some).map_err(Error::io("read", &path)),
        }
    }

    pub(super) fn put(&self, kind: Kind, name: &str, bytes: &[u8], how: Put) -> Result<bool> {
        match how {
            Put::Over => {
                let draft = self.stage(bytes)?;
                self.publish(&draft, kind, name).map(|()| true)
            }
            Put::New => {
                let draft = self.stage(bytes)?;
                match fs::hard_link(&draft.0, self.path(kind, name)) {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                    Err(error) => Err(self.trouble("write", &self.path(kind, name), error)),
                    Ok(()) => sync(&self.dir.join(kind.dir())).map(|()| true),
                }
            }
            Put::Passing => {
                let draft = self.draft(bytes, false)?;
                self.rename(&draft, kind, name).map(|()| true)
            }
        }
    }

    pub(super) fn stage(&self, bytes: &[u8]) -> Result<Draft> {
        self.draft(bytes, true)
    }

    pub(super) fn publish(&self, draft: &Draft, kind: Kind, name: &str) -> Result<()> {
        self.rename(draft, kind, name)?;
        sync(&self.dir.join(kind.dir()))
    }

    fn draft(&self, bytes: &[u8], is_synced: bool) -> Result<Draft> {
        let draft = Draft(self.draft_path()?);
        let written = create(&draft.0).and_then(|mut file| {
            file.write_all(bytes)?;
            if is_synced { file.sync_all() } else { Ok(()) }
        });
        written.map_err(|error| self.trouble("write", &draft.0, error))?;
        Ok(draft)
    }

    fn rename(&self, draft: &Draft, kind: Kind, name: &str) -> Result<()> {
        let place = self.path(kind, name);
        fs::rename(&draft.0, &place).map_err(|error| self.trouble("write", &place, error))
    }

    pub(super) fn lacking(&self, packs: &BTreeSet<PackName>) -> Result<Vec<PackName>> {
        let mut lacking = Vec::new();
        for pack in packs {
            let path = self.path(Kind::Packs, &pack.to_string());
            if !path.try_exists().map_err(Error::io("look for", &path))? {
                lacking.push(*pack);
            }
        }
        if lacking.is_empty() { Ok(lacking) } else { self.check_is_there(Kind::Packs).map(|()| lacking) }
    }

    pub(super) fn delete(&self, kind: Kind, name: &str) -> Result<()> {
        remove(&self.path(kind, name))
    }

    pub(super) fn list(&self, kind: Kind) -> Result<Vec<Listed>> {
        list(&self.dir.join(kind.dir())).or_else(|error| {
            self.check_is_there(kind)?;
            Err(error)
        })
    }

    pub(super) fn read(&self, pack: PackName, offset: u64, buffer: &mut [u8]) -> Result<Part> {
        let path = self.path(Kind::Packs, &pack.to_string());
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.check_is_there(Kind::Packs).map(|()| Part::Missing);
            }
            opened => opened.map_err(Error::io("open", &path))?,
        };
        match file.read_exact_at(buffer, offset) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Part::Short),
            read => read.map(|()| Part::Whole).map_err(Error::io("read", &path)),
        }
    }

    pub(super) fn packs(&self, batch: u128) -> DiskPacks<'_> {
        DiskPacks { disk: self, batch, state: Mutex::default(), news: Condvar::new() }
    }

    /// Nothing of ours can be missing in a store that is not there at all, as when its disk is not mounted.
    fn check_is_there(&self, kind: Kind) -> Result<()> {
        let is_ours = kind == Kind::Top || self.dir.join(FORMAT_FILE).exists();
        let lost = || Error::Lost { place: self.place.clone(), why: "its files are not there".into() };
        if is_ours { Ok(()) } else { Err(lost()) }
    }

    fn trouble(&self, verb: &str, path: &Path, error: io::Error) -> Error {
        match (error.kind(), self.check_is_there(Kind::Packs)) {
            (ErrorKind::NotFound, Err(lost)) => lost,
            _ => Error::io(verb, path)(error),
        }
    }

    fn path(&self, kind: Kind, name: &str) -> PathBuf {
        self.dir.join(kind.dir()).join(name)
    }

    /// A name that nobody else has: not this process, and none that has its number elsewhere.
    fn draft_path(&self) -> Result<PathBuf> {
        Ok(self.path(Kind::Drafts, &hex::encode(random::<16>()?)))
    }
}

/// A file without a name, which goes unless it is given one.
pub(in crate::snapshot) struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // One that was given a name is not there. What stays behind is removed by a later collection.
        let _ = fs::remove_file(&self.0);
    }
}

/// Packs of one store, which grow.
pub(in crate::snapshot) struct DiskPacks<'a> {
    disk: &'a Disk,
    batch: u128,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    files: Vec<Arc<File>>,
    /// Of the last of them.
    length: u64,
    written: u64,
    unflushed: u64,
    is_closed: bool,
    /// The kernel tells a failure once.
    failed: Option<io::Error>,
}

impl DiskPacks<'_> {
    pub(super) fn append(&self, sealed: &[u8]) -> Result<(PackName, u32)> {
        let (file, name, offset) = self.reserve(sealed.len() as u64)?;
        let written = file.write_all_at(sealed, u64::from(offset));
        written.map_err(Error::io("write", &self.path(name)))?;
        self.lock().unflushed += sealed.len() as u64;
        self.news.notify_one();
        Ok((name, offset))
    }

    fn reserve(&self, length: u64) -> Result<(Arc<File>, PackName, u32)> {
        let mut state = self.lock();
        if state.files.is_empty() || state.length + length > PACK_BYTES_MAX {
            let path = self.path(self.name(state.files.len()));
            let file = create(&path).map_err(|error| self.disk.trouble("create", &path, error))?;
            state.files.push(Arc::new(file));
            state.length = 0;
        }
        let offset = u32::try_from(state.length).unwrap_or(u32::MAX);
        state.length += length;
        state.written += length;
        let last = state.files.len() - 1;
        Ok((state.files[last].clone(), self.name(last), offset))
    }

    /// Has the disk write what came, so that there is little left to wait for at the end.
    pub(super) fn flush_along(&self) {
        let mut state = self.lock();
        loop {
            let waits = |state: &mut State| state.unflushed < FLUSH_BYTES && !state.is_closed;
            state = self.news.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
            let Some(file) = state.files.last().filter(|_| !state.is_closed).cloned() else { return };
            state.unflushed = 0;
            drop(state);
            let flushed = file.sync_data();
            state = self.lock();
            state.failed = state.failed.take().or(flushed.err());
        }
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_all();
    }

    pub(super) fn finish(&self) -> Result<u64> {
        let (files, written, failed) = {
            let mut state = self.lock();
            (state.files.clone(), state.written, state.failed.take())
        };
        let synced =
            failed.map_or(Ok(()), Err).and_then(|()| files.iter().try_for_each(|file| file.sync_data()));
        synced.map_err(Error::io("sync", &self.path(self.name(0))))?;
        if !files.is_empty() {
            sync(&self.disk.dir.join(Kind::Packs.dir()))?;
        }
        Ok(written)
    }

    pub(super) fn abandon(&self) {
        for number in 0..self.lock().files.len() {
            if let Err(error) = remove(&self.path(self.name(number))) {
                tracing::warn!(%error, "a pack that nobody needs stays until the next collection");
            }
        }
    }

    fn name(&self, number: usize) -> PackName {
        PackName { batch: self.batch, number: u32::try_from(number).unwrap_or(u32::MAX) }
    }

    fn path(&self, name: PackName) -> PathBuf {
        self.disk.path(Kind::Packs, &name.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new file, which others cannot even open.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn sync(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", dir))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn list(dir: &Path) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("read directory", dir))? {
        let entry = entry.map_err(Error::io("read directory", dir))?;
        let metadata = match entry.metadata() {
            // It went while we looked.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            found => found.map_err(Error::io("look at", &entry.path()))?,
        };
        let modified = metadata.modified().map_err(Error::io("look at", &entry.path()))?;
        // Names of ours are all UTF-8.
        if let Ok(name) = entry.file_name().into_string() {
            listed.push(Listed { name, bytes: metadata.len(), modified });
        }
    }
    listed.sort_by(|one, next| one.name.cmp(&next.name));
    Ok(listed)
}
