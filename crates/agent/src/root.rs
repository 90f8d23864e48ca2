//! The tree that file operations see, and how paths find their way in it.
//!
//! Every file operation opens through [`Root::open`] and goes on with
//! descriptors, so where a path can lead is decided in this one place.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::{Errno, Result};

/// Tries of one confined resolution while somebody renames directories under it
/// (`openat2(2)`: "the caller should retry").
const RESOLVE_TRIES_MAX: u32 = 64;

/// A file that is read whole, in bytes; what is beyond is not read.
const TEXT_BYTES_MAX: u64 = 1024 * 1024;

/// How directories made on the way are: the owner's to change, everybody's to enter.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// Where paths begin.
#[derive(Debug)]
pub enum Root {
    /// The whole machine is the sandbox: ordinary paths.
    Machine,
    /// A directory stands for the machine. For engines that isolate nothing; no path, link or `..` leads out of it.
    Confined {
        /// The directory.
        dir: OwnedFd,
        /// Its path outside.
        path: PathBuf,
    },
}

impl Root {
    /// `path` as root. Fails where the kernel has no `openat2`.
    pub fn confined(path: &Path) -> Result<Self> {
        let path = path.canonicalize().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let dir = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let root = Self::Confined { dir, path };
        root.open_dir(Path::new("/"))?;
        Ok(root)
    }

    /// Whether the whole machine is the sandbox.
    pub fn is_machine(&self) -> bool {
        matches!(self, Self::Machine)
    }

    /// Opens `path`, which is absolute. The descriptor is closed on exec.
    pub fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        // A handle is no terminal, and `openat2` minds.
        let no_terminal = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NOCTTY };
        let flags = flags | OFlags::CLOEXEC | no_terminal;
        match self {
            Self::Machine => rustix::fs::openat(CWD, path, flags, Mode::empty()),
            Self::Confined { dir, .. } => open_confined(dir, path, flags),
        }
    }

    /// A file's text; empty when it is missing, unreadable or no regular file. Never waits for a FIFO.
    pub fn text(&self, path: &str) -> String {
        let mut bytes = Vec::new();
        if let Ok(fd) = self.open(Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK)
            && rustix::fs::fstat(&fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
        {
            // What was read before a failure is what there is.
            let _ = File::from(fd).take(TEXT_BYTES_MAX).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A handle on a directory, fit for `*at` calls and `fchdir`.
    pub fn open_dir(&self, path: &Path) -> Result<OwnedFd> {
        self.open(path, OFlags::PATH | OFlags::DIRECTORY)
    }

    /// Like [`Root::open_dir`], making what is missing. What is made belongs to `owner`, or else to the caller.
    pub fn make_dirs(&self, path: &Path, owner: Option<(u32, u32)>) -> Result<OwnedFd> {
        match self.open_dir(path) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let mut walked = PathBuf::from("/");
        let mut at = self.open_dir(&walked)?;
        for component in path.components().filter(|component| *component != Component::RootDir) {
            walked.push(component);
            at = match self.open_dir(&walked) {
                Err(Errno::NOENT) => {
                    make_dir(&at, Path::new(&component), owner)?;
                    self.open_dir(&walked)?
                }
                found => found?,
            };
        }
        Ok(at)
    }

    /// Where an open file is, as paths go here.
    pub fn path_of(&self, fd: &OwnedFd) -> Result<PathBuf> {
        let path = rustix::fs::readlinkat(CWD, link_to(fd), Vec::new())?;
        let path = PathBuf::from(OsString::from_vec(path.into_bytes()));
        match self {
            Self::Machine => Ok(path),
            Self::Confined { path: root, .. } => {
                Ok(Path::new("/").join(path.strip_prefix(root).map_err(|_| Errno::NOENT)?))
            }
        }
    }

    /// A path that means what `path` means here, for calls that take no descriptor. Links are followed, unless `flags` has
    /// `NOFOLLOW`.
    pub fn through(&self, path: &Path, flags: OFlags) -> Result<Through> {
        match self {
            Self::Machine => Ok(Through { path: path.to_owned(), _held: None }),
            Self::Confined { .. } => {
                let held = self.open(path, flags | OFlags::PATH)?;
                Ok(Through { path: link_to(&held), _held: Some(held) })
            }
        }
    }

    /// Where `path` is for processes, which know nothing of this root.
    pub fn outside(&self, path: &Path) -> PathBuf {
        match self {
            Self::Machine => path.to_owned(),
            Self::Confined { path: root, .. } => root.join(path.strip_prefix("/").unwrap_or(path)),
        }
    }
}

/// A path that leads to one file as long as this lives.
pub struct Through {
    /// The path.
    pub path: PathBuf,
    _held: Option<OwnedFd>,
}

fn link_to(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

fn open_confined(dir: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..RESOLVE_TRIES_MAX {
        match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// Makes one directory. That it is there already is as good.
fn make_dir(at: &OwnedFd, name: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    match rustix::fs::mkdirat(at, name, DIRECTORY_MODE) {
        Err(Errno::EXIST) => return Ok(()),
        made => made?,
    }
    let Some((uid, gid)) = owner else { return Ok(()) };
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(at, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn content(root: &Root, path: &str) -> Result<String> {
        let mut text = String::new();
        fs::File::from(root.open(Path::new(path), OFlags::RDONLY)?).read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn no_path_leads_out_of_a_confined_root() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), "inside").unwrap();
        symlink("/etc/passwd", dir.path().join("absolute")).unwrap();
        symlink("../../../../etc/passwd", dir.path().join("relative")).unwrap();
        symlink("/", dir.path().join("slash")).unwrap();
        symlink("/proc/self/root/etc/passwd", dir.path().join("magic")).unwrap();
        let root = Root::confined(dir.path()).unwrap();
        for path in ["/etc/passwd", "/../../etc/passwd", "/absolute", "/relative", "/slash/slash/etc/passwd"]
        {
            assert_eq!(content(&root, path).unwrap(), "inside", "{path}");
        }
        assert_eq!(content(&root, "/magic").unwrap_err(), Errno::NOENT);
    }

    #[test]
    fn missing_directories_are_made_inside() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        let root = Root::confined(dir.path()).unwrap();
        root.make_dirs(Path::new("/a/b/../c"), None).unwrap();
        assert!(dir.path().join("a/b").is_dir() && dir.path().join("a/c").is_dir());
        assert_eq!(root.make_dirs(Path::new("/link/x"), None).unwrap_err(), Errno::NOENT);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "something was made outside");
    }

    #[test]
    fn a_root_that_is_no_directory_is_refused() {
        assert_eq!(Root::confined(Path::new("/dev/null")).unwrap_err(), Errno::NOTDIR);
    }
}
