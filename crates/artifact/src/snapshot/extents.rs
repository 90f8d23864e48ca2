//! What of a directory has to be read.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::Errno;

use super::chunk::{CHUNK_BYTES, chunks_of};
use super::error::{Error, Result};
use super::manifest::{BYTES_MAX, FILES_MAX};

/// A file to be stored.
pub(super) struct Source {
    pub name: String,
    pub file: File,
    pub bytes: u64,
}

/// A chunk to be read: of which file, and which of its.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    pub file: u32,
    pub index: u32,
}

/// The files of a directory, by name.
pub(super) fn sources(dir: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("read directory", dir))? {
        let path = entry.map_err(Error::io("read directory", dir))?.path();
        sources.push(source(&path)?);
    }
    sources.sort_by(|one, next| one.name.cmp(&next.name));
    let bytes: u64 = sources.iter().map(|source| source.bytes).sum();
    let too_much = |why: String| Err(Error::Unsuited { path: dir.display().to_string(), why });
    match sources.len() {
        files if files > FILES_MAX => too_much(format!("it has {files} files; {FILES_MAX} is the most")),
        _ if bytes > BYTES_MAX => too_much(format!("it has {bytes} bytes; {BYTES_MAX} is the most")),
        _ => Ok(sources),
    }
}

fn source(path: &Path) -> Result<Source> {
    let unsuited = |why: &str| Error::Unsuited { path: path.display().to_string(), why: why.into() };
    let metadata = fs::symlink_metadata(path).map_err(Error::io("look at", path))?;
    if !metadata.is_file() {
        return Err(unsuited("only plain files can"));
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| unsuited("its name is not UTF-8"))?.to_owned();
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(Error::io("open", path))?;
    let bytes = file.metadata().map_err(Error::io("look at", path))?.len();
    Ok(Source { name, file, bytes })
}

/// The chunks that have something in them, as far as the file system knows.
pub(super) fn jobs(sources: &[Source]) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for (number, source) in (0..).zip(sources) {
        let failed = |error: Errno| Error::io("look for holes in", Path::new(&source.name))(error.into());
        let mut at = 0;
        while let Some((begin, end)) = next_extent(&source.file, at, source.bytes).map_err(failed)? {
            let first = u32::try_from(begin / CHUNK_BYTES as u64).unwrap_or(u32::MAX);
            let behind = u32::try_from(chunks_of(end)).unwrap_or(u32::MAX);
            let known =
                jobs.last().filter(|last: &&Job| last.file == number).map_or(0, |last| last.index + 1);
            jobs.extend((first.max(known)..behind).map(|index| Job { file: number, index }));
            at = end;
        }
    }
    Ok(jobs)
}

/// The next data from there: its beginning and its end.
fn next_extent(file: &File, at: u64, length: u64) -> std::result::Result<Option<(u64, u64)>, Errno> {
    if at >= length {
        return Ok(None);
    }
    match seek(file, SeekFrom::Data(at)) {
        Err(Errno::NXIO) => Ok(None),
        // A file system that knows of no holes.
        Err(Errno::INVAL) => Ok(Some((at, length))),
        Err(error) => Err(error),
        Ok(begin) if begin >= length => Ok(None),
        Ok(begin) => Ok(Some((begin, seek(file, SeekFrom::Hole(begin))?.min(length)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn holes_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let chunk = CHUNK_BYTES as u64;
        let file = File::create(dir.path().join("b")).unwrap();
        file.write_all_at(b"x", 3 * chunk + 5).unwrap();
        file.write_all_at(b"x", 3 * chunk + 9000).unwrap();
        file.write_all_at(b"xx", 6 * chunk - 1).unwrap();
        file.set_len(100 * chunk).unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        let sources = sources(dir.path()).unwrap();
        let found: Vec<_> = jobs(&sources).unwrap().iter().map(|job| (job.file, job.index)).collect();
        assert_eq!(found, [(0, 0), (1, 3), (1, 5), (1, 6)]);
    }

    #[test]
    fn only_plain_files_are_stored() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        assert!(matches!(sources(dir.path()), Err(Error::Unsuited { .. })));
        fs::remove_file(dir.path().join("link")).unwrap();
        fs::create_dir(dir.path().join("inner")).unwrap();
        assert!(matches!(sources(dir.path()), Err(Error::Unsuited { .. })));
    }
}
