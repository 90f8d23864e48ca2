//! How many processes the sandbox may have: a control group with the `pids` controller.
//!
//! The agent stays outside of it. So a fork bomb fills its own group, and the
//! agent can still make the threads it needs to end it.
//!
//! Each process of the group gets the same number as its resource limit, too.
//! That one counts the processes of a user, those that have ended and are not
//! reaped included (Linux spares root, gVisor those who may administer). gVisor's
//! group does not count the ended ones: there, a bomb whose processes end as fast as
//! they begin is held by this one.
//!
//! On an engine with control groups of the first version the controller is
//! mounted for this purpose; a Linux kernel of our own has the second version.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

const MOUNT_POINT: &str = "/sys/fs/cgroup";
/// The group of everything that is not the agent.
const GROUP: &str = "/sys/fs/cgroup/sandbox";

/// The limit, in force for every process that joins it.
pub struct ProcessLimit {
    members: File,
    current: File,
    processes_max: u32,
}

impl ProcessLimit {
    /// Makes the group.
    pub fn set(processes_max: u32) -> io::Result<Self> {
        mount_controller()?;
        match fs::create_dir(GROUP) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let file = |name: &str| Path::new(GROUP).join(name);
        fs::write(file("pids.max"), processes_max.to_string())?;
        let members = OpenOptions::new().write(true).open(file("cgroup.procs"))?;
        Ok(Self { members, current: File::open(file("pids.current"))?, processes_max })
    }

    /// Where a process writes `0` to join.
    pub fn members(&self) -> BorrowedFd<'_> {
        self.members.as_fd()
    }

    /// Processes and threads at once.
    pub fn processes_max(&self) -> u32 {
        self.processes_max
    }

    /// Processes and threads in the group; `None` when that cannot be read.
    pub fn current(&self) -> Option<u32> {
        let mut digits = [0; 16];
        let length = self.current.read_at(&mut digits, 0).ok()?;
        std::str::from_utf8(digits.get(..length)?).ok()?.trim().parse().ok()
    }

    /// Whether one more is too many. Joining is not refused by the kernel, only starting more from inside is.
    pub fn is_reached(&self) -> bool {
        self.current().is_some_and(|current| current >= self.processes_max)
    }
}

/// Version one, else version two, which may be there already.
fn mount_controller() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if mount("none", MOUNT_POINT, "cgroup", flags, c"pids").is_ok() {
        return Ok(());
    }
    match mount("none", MOUNT_POINT, "cgroup2", flags, None) {
        Ok(()) | Err(Errno::BUSY) => {}
        Err(error) => return Err(error.into()),
    }
    fs::write(Path::new(MOUNT_POINT).join("cgroup.subtree_control"), "+pids")
}
