//! A walk down a tree, each directory before what is in it.
//!
//! Directories are opened by name in the one above, links never followed, so a walk stays below where it began, whoever
//! moves things about meanwhile. It holds one descriptor a level, and names up to a limit.

use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use wire::guest::{Error, ErrorCode};
use wire::sandbox::limits::PATH_BYTES_MAX;

use super::directory::{Directory, Name, is_barred};
use super::entry::shown;
use super::pattern::{Candidate, Pattern};
use crate::failure;
use crate::root::Root;

/// Levels of a tree, and so descriptors that a walk holds.
pub const DEPTH_MAX: usize = 256;
/// Names that a walk holds, in bytes. A directory with more is shown in several runs, each sorted.
const NAMES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Names of one level, in bytes, that are always held.
const RUN_BYTES_MIN: usize = 4 * 1024;
/// Patterns of names to leave out.
const EXCLUDES_MAX: usize = 256;

/// File systems that are the kernel talking: `/proc` and `/sys` (`linux/magic.h`).
const KERNEL_FILE_SYSTEMS: [i64; 2] = [0x9fa0, 0x6265_6572];

/// What a walk enters.
#[derive(Debug, Default)]
pub struct Rules {
    /// What is left out, directories with all that is in them.
    pub exclude: Vec<Pattern>,
    /// Levels to go down.
    pub depth_max: Option<u32>,
    /// Whether to stay out of what the kernel makes up as it is read, unless the walk begins there.
    pub skip_kernel: bool,
}

/// Something that was found.
pub struct Found<'a> {
    /// Where.
    pub directory: &'a OwnedFd,
    /// Its name there.
    pub name: &'a CStr,
    /// What it was when its directory was read.
    pub kind: FileType,
    /// 0 for what is in the directory where the walk began.
    pub depth: u32,
    /// Its absolute path.
    pub path: &'a Path,
    /// How it is shown to patterns.
    pub candidate: Candidate<'a>,
}

struct Level {
    directory: Directory,
    run: std::vec::IntoIter<Name>,
    run_bytes: usize,
    path_length: usize,
    device: u64,
}

/// A walk under way.
struct Walk<'a> {
    rules: &'a Rules,
    levels: Vec<Level>,
    names_bytes: usize,
    path: Vec<u8>,
    base_length: usize,
}

/// Reads patterns of names to leave out.
pub fn patterns(texts: &[String]) -> Result<Vec<Pattern>, Error> {
    if texts.len() > EXCLUDES_MAX {
        return Err(failure::invalid(format!("more than {EXCLUDES_MAX} patterns to leave out")));
    }
    texts.iter().map(|text| Pattern::parse(text).map_err(failure::invalid)).collect()
}

/// Shows everything below `path` to `visit`, whose failure ends the walk. What may not be entered is not.
pub fn walk(
    root: &Root,
    path: &Path,
    directory: Directory,
    rules: &Rules,
    mut visit: impl FnMut(&Found) -> Result<(), Error>,
) -> Result<(), Error> {
    let path = shown(root, path).into_os_string().into_encoded_bytes();
    let base_length = path.strip_suffix(b"/").unwrap_or(&path).len();
    let mut walk = Walk { rules, levels: Vec::new(), names_bytes: 0, path, base_length };
    walk.path.truncate(base_length);
    walk.descend(directory)?;
    while let Some(name) = walk.next()? {
        walk.step(&name, &mut visit)?;
    }
    Ok(())
}

impl Walk<'_> {
    /// The next name of the deepest level; levels that are done are left.
    fn next(&mut self) -> Result<Option<Name>, Error> {
        while let Some(level) = self.levels.last_mut() {
            if let Some(name) = level.run.next() {
                return Ok(Some(name));
            }
            self.names_bytes -= level.run_bytes;
            let bytes_max = (NAMES_BYTES_MAX.saturating_sub(self.names_bytes) / 2).max(RUN_BYTES_MIN);
            // A directory that cannot be read further has been read.
            let run = level.directory.next_run(bytes_max).unwrap_or_default();
            level.run_bytes = run.iter().map(|name| size_of::<Name>() + name.name.count_bytes()).sum();
            self.names_bytes += level.run_bytes;
            if run.is_empty() {
                self.levels.pop();
            } else {
                level.run = run.into_iter();
            }
        }
        Ok(None)
    }

    fn step(
        &mut self,
        name: &Name,
        visit: &mut impl FnMut(&Found) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let depth = self.levels.len() - 1;
        let Some(level) = self.levels.last() else { return Ok(()) };
        self.path.truncate(level.path_length);
        self.path.push(b'/');
        self.path.extend_from_slice(name.name.to_bytes());
        if self.path.len() > PATH_BYTES_MAX {
            return Err(self.too_deep(format!("the path is longer than {PATH_BYTES_MAX} bytes")));
        }
        let path = Path::new(OsStr::from_bytes(&self.path));
        let text = path.to_string_lossy();
        let shown_name = name.name.to_string_lossy();
        let below = String::from_utf8_lossy(&self.path[self.base_length + 1..]);
        let is_dir = name.kind == FileType::Directory;
        let candidate = Candidate { name: &shown_name, below: &below, path: &text, is_dir };
        if self.rules.exclude.iter().any(|pattern| pattern.fits(candidate)) {
            return Ok(());
        }
        let directory = level.directory.fd();
        visit(&Found { directory, name: &name.name, kind: name.kind, depth: depth as u32, path, candidate })?;
        let is_last = self.rules.depth_max.is_some_and(|depth_max| depth + 1 >= depth_max as usize);
        if !is_dir || is_last {
            return Ok(());
        }
        match Directory::open_in(directory, &name.name) {
            Ok(directory) => self.descend(directory),
            Err(error) if is_barred(error) => Ok(()),
            Err(error) => Err(failure::of(path.display(), error)),
        }
    }

    fn descend(&mut self, directory: Directory) -> Result<(), Error> {
        if self.levels.len() >= DEPTH_MAX {
            return Err(self.too_deep(format!("more than {DEPTH_MAX} levels deep")));
        }
        let device = rustix::fs::fstat(directory.fd()).map_err(|error| self.failed(error))?.st_dev;
        let is_other = self.levels.last().is_some_and(|above| above.device != device);
        if is_other && self.rules.skip_kernel && is_of_kernel(&directory) {
            return Ok(());
        }
        let (run, path_length) = (Vec::new().into_iter(), self.path.len());
        self.levels.push(Level { directory, run, run_bytes: 0, path_length, device });
        Ok(())
    }

    fn failed(&self, error: Errno) -> Error {
        failure::of(Path::new(OsStr::from_bytes(&self.path)).display(), error)
    }

    fn too_deep(&self, why: String) -> Error {
        let shown: PathBuf = Path::new(OsStr::from_bytes(&self.path)).components().take(8).collect();
        Error::new(ErrorCode::TooLarge, format!("{}…: {why}; leave it out", shown.display()))
    }
}

/// Whether what is in a directory is made up by the kernel as it is read.
pub fn is_of_kernel(directory: &Directory) -> bool {
    rustix::fs::fstatfs(directory.fd()).is_ok_and(|found| KERNEL_FILE_SYSTEMS.contains(&found.f_type))
}

/// What a found file is; `None` if it is gone.
pub fn stat(found: &Found) -> Option<rustix::fs::Stat> {
    rustix::fs::statat(found.directory, found.name, AtFlags::SYMLINK_NOFOLLOW).ok()
}
