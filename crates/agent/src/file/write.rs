//! Writing a file: beside its place, then into it, whole or not at all.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use tokio::sync::mpsc;
use wire::guest::{Done, Error, Outcome, WriteFile};

use super::{Files, PIECES_MAX};
use crate::connection::stream::Stream;
use crate::failure;
use crate::root::Root;
use crate::sandbox::Sandbox;

/// Permission bits of a new file.
const DEFAULT_MODE: u32 = 0o644;
/// Bits a caller may set.
const MODE_BITS: u32 = 0o777;
/// Links followed to where a file is, as the kernel has it (`path_resolution(7)`).
const LINKS_MAX: u32 = 40;

/// What the thread is handed. A way that ends without [`Piece::End`] was cut: the file must not appear.
enum Piece {
    Data(Bytes),
    End,
}

/// Writes what the node sends.
pub async fn write(files: &Files, sandbox: &Arc<Sandbox>, stream: &Stream, write: WriteFile) -> Outcome {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let path = sandbox.absolute(&write.path);
    let root = sandbox.root.clone();
    let work = move || run(&root, &path, write.mode, pieces);
    let ending = tokio::select! {
        ending = files.start(Some(sandbox.identity.clone()), work) => ending?,
        () = stream.cancelled() => return Err(failure::cancelled()),
    };
    tokio::select! {
        () = relay(stream, sender) => {}
        () = stream.cancelled() => {}
    }
    // The sender is gone by now: after a cancel, the thread cleans up and says so.
    let bytes = super::ended(ending).await?;
    Ok(Done::Write { bytes })
}

/// Hands over what arrives, until its end or until the thread has had enough.
async fn relay(stream: &Stream, sender: mpsc::Sender<Piece>) {
    while let Some(bytes) = stream.received().await {
        let length = bytes.len();
        if sender.send(Piece::Data(bytes)).await.is_err() {
            return;
        }
        stream.used_up(length).await;
    }
    // The thread has failed already: its answer says why.
    let _ = sender.send(Piece::End).await;
}

/// The thread's side. Returns the bytes written.
fn run(root: &Root, path: &Path, mode: Option<u32>, pieces: mpsc::Receiver<Piece>) -> Result<u64, Error> {
    let place = Place::find(root, path)?;
    let fresh = Fresh::create(&place.directory).map_err(|error| failure::of(path.display(), error))?;
    let failed = |error: io::Error| failure::of(path.display(), error);
    let bytes = fill(&fresh.file, pieces, failed)?;
    place.dress(&fresh.file, mode).map_err(|error| failed(error.into()))?;
    fresh.rename(&place.name).map_err(|error| failed(error.into()))?;
    Ok(bytes)
}

fn fill(
    mut file: &File,
    mut pieces: mpsc::Receiver<Piece>,
    failed: impl Fn(io::Error) -> Error,
) -> Result<u64, Error> {
    let mut bytes = 0;
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Data(piece)) => {
                file.write_all(&piece).map_err(&failed)?;
                bytes += piece.len() as u64;
            }
            Some(Piece::End) => return Ok(bytes),
            None => return Err(failure::cancelled()),
        }
    }
}

/// Where a file is to be: a name in a directory, and what is there now.
struct Place {
    directory: OwnedFd,
    name: PathBuf,
    existing: Option<Stat>,
}

impl Place {
    /// Follows links to the place, and makes the directories that are missing on the way.
    fn find(root: &Root, path: &Path) -> Result<Self, Error> {
        let failed = |error: Errno| failure::of(path.display(), error);
        let mut at = path.to_owned();
        for _ in 0..LINKS_MAX {
            let (parent, name) = split(&at).ok_or_else(|| super::is_a_directory(path))?;
            let directory = root.make_dirs(&parent, None).map_err(failed)?;
            let existing = match rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) => None,
                Err(error) => return Err(failed(error)),
            };
            match existing.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
                None => {}
                Some(FileType::RegularFile) => check_writable(&directory, &name).map_err(failed)?,
                Some(FileType::Symlink) => {
                    let target = rustix::fs::readlinkat(&directory, &name, Vec::new()).map_err(failed)?;
                    // Relative to the directory, or a new path from the root.
                    at = parent.join(OsStr::from_bytes(target.as_bytes()));
                    continue;
                }
                Some(FileType::Directory) => return Err(super::is_a_directory(path)),
                Some(_) => return Err(super::not_a_regular_file(path)),
            }
            return Ok(Self { directory, name, existing });
        }
        Err(failed(Errno::LOOP))
    }

    /// Gives the new file the owner of the old one, as far as the user may, and its mode.
    fn dress(&self, file: &File, mode: Option<u32>) -> rustix::io::Result<()> {
        let fresh = rustix::fs::fstat(file)?;
        if let Some(old) = self.existing
            && (old.st_uid, old.st_gid) != (fresh.st_uid, fresh.st_gid)
        {
            // Only root may give files away; for others the file is theirs from now on.
            let _ =
                rustix::fs::fchown(file, Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid)));
        }
        let kept = self.existing.map_or(DEFAULT_MODE, |old| old.st_mode);
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode.unwrap_or(kept) & MODE_BITS))
    }
}

/// The directory and the name in it; `None` if the path can only mean a directory.
fn split(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.ends_with(b"/") || bytes.ends_with(b"/.") {
        return None;
    }
    Some((path.parent()?.to_owned(), path.file_name()?.into()))
}

/// Replacing a file asks nothing of the file itself. People expect it does: one that may not be written stays.
fn check_writable(directory: &OwnedFd, name: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        // A program that runs can be replaced, though not changed.
        Ok(_) | Err(Errno::TXTBSY) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A file without its place yet. Dropped without [`Fresh::rename`], it is gone.
struct Fresh<'a> {
    directory: &'a OwnedFd,
    name: Option<String>,
    file: File,
}

impl<'a> Fresh<'a> {
    fn create(directory: &'a OwnedFd) -> rustix::io::Result<Self> {
        let name = fresh_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, &name, flags, Mode::RUSR | Mode::WUSR)?.into();
        Ok(Self { directory, name: Some(name), file })
    }

    fn rename(mut self, place: &Path) -> rustix::io::Result<()> {
        let Some(name) = &self.name else { return Ok(()) };
        rustix::fs::renameat(self.directory, name, self.directory, place)?;
        self.name = None;
        Ok(())
    }
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Best effort: what is reported is why the file did not get to its place.
            let _ = rustix::fs::unlinkat(self.directory, name, AtFlags::empty());
        }
    }
}

/// A name nobody else in this sandbox uses: agents come one after the other, and the clock tells them apart.
fn fresh_name() -> String {
    static TURN: AtomicU64 = AtomicU64::new(0);
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = since_epoch.map_or(0, |time| time.as_nanos());
    format!(".atoll-{now:x}-{:x}", TURN.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_can_only_be_a_directory_has_no_name() {
        for path in ["/", "/a/", "/a/.", "/a/.."] {
            assert_eq!(split(Path::new(path)), None, "{path}");
        }
        assert_eq!(split(Path::new("/a/b")), Some(("/a".into(), "b".into())));
    }

    #[test]
    fn a_fresh_file_that_is_not_placed_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Root::Machine.open_dir(dir.path()).unwrap();
        drop(Fresh::create(&directory).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        Fresh::create(&directory).unwrap().rename(Path::new("x")).unwrap();
        assert!(dir.path().join("x").is_file());
    }
}
