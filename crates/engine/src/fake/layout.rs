//! What the fake engine keeps on disk.
//!
//! ```text
//! DIR/
//!   agents/              the agent's binary
//!   sbx-…/               one machine; ours, but the agent may add to it
//!     root/              what the machine takes for its root; the agent's
//!     agent.sock         where the agent listens
//!     agent.log          what it says on stderr
//!     agent.pid          its number and its start time, in clock ticks since the host's boot
//!     checkpoint         the same, where it is stopped for a checkpoint
//! ```

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use wire::id::{SUFFIX_CHARS, SandboxId};

use super::processes::Seen;
use crate::{Error, Owned};

const AGENTS: &str = "agents";
const SOCKET: &str = "agent.sock";

/// `sun_path` of a Unix socket's address, in bytes, without the zero at its end (`unix(7)`).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Characters of a sandbox's id.
const ID_CHARS: usize = SandboxId::PREFIX.len() + 1 + SUFFIX_CHARS;
/// How much of a log is shown, in bytes.
const LOG_TAIL_BYTES: u64 = 2048;

/// To be entered by everybody, read by us.
const MODE_DIR: u32 = 0o711;
/// To be entered and added to by everybody, where nobody removes what is another's.
const MODE_MACHINE: u32 = 0o1733;

/// Directories that programs expect in a machine.
const ROOT_DIRS: [&str; 3] = ["tmp", "home/user", "workspace"];

/// Where the machines are.
#[derive(Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    agent: PathBuf,
    /// As whom machines run, if not as we do.
    uid: Option<u32>,
}

/// Where one machine is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    dir: PathBuf,
    agent: PathBuf,
    uid: Option<u32>,
}

impl Layout {
    pub(super) fn new(dir: PathBuf, uid: u32) -> Result<Self, Error> {
        let making = || format!("making {}", dir.display());
        fs::create_dir_all(&dir).map_err(Error::io(making()))?;
        let dir = dir.canonicalize().map_err(Error::io(making()))?;
        let uid = rustix::process::geteuid().is_root().then_some(uid);
        check_length(&dir)?;
        if uid.is_some() {
            fs::set_permissions(&dir, Permissions::from_mode(MODE_DIR)).map_err(Error::io(making()))?;
            check_entrance(&dir)?;
        }
        let agent = crate::agent::install(&dir.join(AGENTS))?;
        Ok(Self { dir, agent, uid })
    }

    pub(super) fn place(&self, id: &SandboxId) -> Place {
        Place { dir: self.dir.join(id.as_str()), agent: self.agent.clone(), uid: self.uid }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Everything on disk but the agent's binary, which is nobody's.
    pub(super) fn owned(&self) -> Result<Vec<Owned>, Error> {
        let reading = || Error::io(format!("reading {}", self.dir.display()));
        let mut owned = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(reading())? {
            let entry = entry.map_err(reading())?;
            if entry.file_name() == AGENTS {
                continue;
            }
            let owner: Option<SandboxId> = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let socket = entry.path().join(SOCKET);
            if socket.exists() {
                let name = socket.display().to_string();
                owned.push(Owned { kind: "socket", name, owner: owner.clone() });
            }
            owned.push(Owned { kind: "directory", name: entry.path().display().to_string(), owner });
        }
        Ok(owned)
    }
}

impl Place {
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The agent's binary.
    pub(super) fn agent(&self) -> &Path {
        &self.agent
    }

    pub(super) fn uid(&self) -> Option<u32> {
        self.uid
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join(SOCKET)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("agent.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.join("agent.pid")
    }

    pub(super) fn exists(&self) -> bool {
        fs::symlink_metadata(&self.dir).is_ok()
    }

    /// Makes the directories.
    pub(super) fn make(&self) -> Result<(), Error> {
        self.try_make().map_err(Error::io(format!("making {}", self.dir.display())))
    }

    fn try_make(&self) -> io::Result<()> {
        fs::create_dir(&self.dir)?;
        fs::set_permissions(&self.dir, Permissions::from_mode(MODE_MACHINE))?;
        let mut made = vec![self.root()];
        made.extend(ROOT_DIRS.iter().map(|name| self.root().join(name)));
        for dir in made {
            fs::create_dir_all(&dir)?;
            // The last one; what is between it and the root is made for it, and stays ours.
            chown(&dir, self.uid, self.uid)?;
        }
        Ok(())
    }

    /// Takes note of the agent's process, whole or not at all.
    pub(super) fn write_pid(&self, agent: &Seen) -> Result<(), Error> {
        let (path, fresh) = (self.pid_file(), self.dir.join("agent.pid.new"));
        let text = format!("{} {}\n", agent.pid, agent.started_ticks);
        let written = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path));
        written.map_err(Error::io(format!("writing {}", path.display())))
    }

    /// The process that was noted, if that very one still runs.
    pub(super) fn read_pid(&self) -> Option<Seen> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        let (pid, started_ticks) = text.trim_end().split_once(' ')?;
        let started_ticks: u64 = started_ticks.parse().ok()?;
        Seen::of(pid.parse().ok()?).filter(|seen| seen.started_ticks == started_ticks && seen.is_alive())
    }

    fn checkpoint_file(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    /// The name of the process that is stopped for a checkpoint, if one is.
    pub(super) fn checkpointed(&self) -> Option<String> {
        fs::read_to_string(self.checkpoint_file()).ok()
    }

    pub(super) fn set_checkpointed(&self, name: &str) -> Result<(), Error> {
        let path = self.checkpoint_file();
        fs::write(&path, name).map_err(Error::io(format!("writing {}", path.display())))
    }

    /// It goes on here: no checkpoint of it does any more.
    pub(super) fn forget_checkpoint(&self) -> Result<(), Error> {
        let path = self.checkpoint_file();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("removing {}", path.display()))(error))
            }
            _ => Ok(()),
        }
    }

    /// The end of the agent's log.
    pub(super) fn log_tail(&self) -> String {
        let tail = || {
            let mut file = File::open(self.log())?;
            let from = file.metadata()?.len().saturating_sub(LOG_TAIL_BYTES);
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
            io::Result::Ok(bytes)
        };
        String::from_utf8_lossy(&tail().unwrap_or_default()).trim().to_owned()
    }

    /// Removes the directory, whatever is in it.
    pub(super) async fn remove(&self) -> Result<(), Error> {
        let dir = self.dir.clone();
        let removed = tokio::task::spawn_blocking(move || remove_tree(&dir)).await;
        let removing = Error::io(format!("removing {}", self.dir.display()));
        removed.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(removing)
    }
}

/// Removes a tree. That there is none, or that somebody else removes it at the same time, is as good.
fn remove_tree(dir: &Path) -> io::Result<()> {
    let removed = fs::remove_dir_all(dir).or_else(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => unlock(dir).and_then(|()| fs::remove_dir_all(dir)),
        io::ErrorKind::NotFound => fs::remove_dir_all(dir),
        _ => Err(error),
    });
    if fs::symlink_metadata(dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    removed
}

/// Opens directories that whoever ran inside closed to their owner, which we are too when we are not root.
fn unlock(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        }
    }
    Ok(())
}

fn check_length(dir: &Path) -> Result<(), Error> {
    let bytes = dir.as_os_str().as_bytes().len() + 1 + ID_CHARS + 1 + SOCKET.len();
    if bytes <= SOCKET_PATH_BYTES_MAX {
        return Ok(());
    }
    let longest = SOCKET_PATH_BYTES_MAX - (bytes - dir.as_os_str().as_bytes().len());
    Err(Error::Unfit {
        what: format!(
            "sockets in {} would have paths of {bytes} bytes, and the kernel takes {SOCKET_PATH_BYTES_MAX}",
            dir.display()
        ),
        remedy: format!("choose a directory whose path has {longest} bytes at most"),
    })
}

/// Finds out before any machine does that it could not reach its own directory.
fn check_entrance(dir: &Path) -> Result<(), Error> {
    for above in dir.ancestors() {
        let mode = fs::metadata(above).map_err(Error::io(format!("looking at {}", above.display())))?.mode();
        if mode & 0o001 == 0 {
            return Err(Error::Unfit {
                what: format!("machines run as another user, who cannot enter {}", above.display()),
                remedy: format!("chmod o+x {}", above.display()),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_too_long_for_sockets_is_refused_with_the_limit() {
        let longest = SOCKET_PATH_BYTES_MAX - (1 + ID_CHARS + 1 + SOCKET.len());
        check_length(Path::new(&"x".repeat(longest))).unwrap();
        let refused = check_length(Path::new(&"x".repeat(longest + 1))).unwrap_err().to_string();
        assert!(refused.contains("paths of 108 bytes"), "{refused}");
        assert!(refused.contains(&format!("has {longest} bytes")), "{refused}");
    }
}
