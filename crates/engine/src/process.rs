//! A process of the host, held by a descriptor so that its number can be reused without harm.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::Error;

/// A process, which may have ended.
#[derive(Debug)]
pub(crate) struct Process {
    pid: i32,
    fd: OwnedFd,
}

impl Process {
    /// The process of this number, or `None` if there is none.
    pub(crate) fn open(pid: i32) -> io::Result<Option<Self>> {
        let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
        match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self { pid, fd })),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Its number.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// False once all its threads have ended, reaped or not.
    pub(crate) fn is_alive(&self) -> bool {
        let mut polled = [PollFd::new(&self.fd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        !matches!(rustix::event::poll(&mut polled, Some(&now)), Ok(ready) if ready > 0)
    }

    /// Kills it. A process that has ended is left in peace.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(self.fd.as_fd(), Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its end.
    pub(crate) async fn ended(self) -> io::Result<()> {
        // SAFETY: the descriptor is open and stays so until the registration, which owns it, is dropped.
        let registered = unsafe { AsyncFd::register_with_interest(self.fd, Interest::READABLE)? };
        registered.readable().await.map(|_| ())
    }

    /// Waits for its end, `bound` at most.
    ///
    /// # Errors
    /// [`Error::Timeout`] for `what`.
    pub(crate) async fn ended_within(self, what: &'static str, bound: Duration) -> Result<(), Error> {
        let pid = self.pid;
        match tokio::time::timeout(bound, self.ended()).await {
            Ok(result) => result.map_err(Error::io(format!("waiting for process {pid}"))),
            Err(_) => Err(Error::Timeout { what, bound }),
        }
    }
}

/// The numbers of all processes of the host.
pub(crate) fn all() -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// What a process does, as the kernel puts it (proc(5), `State`): `S (sleeping)`, `T (stopped)`.
pub(crate) fn state(pid: i32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("State:")).map(|state| state.trim().to_owned())
}

/// The arguments a process was started with; empty for one that has ended.
pub(crate) fn arguments(pid: i32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[tokio::test]
    async fn a_killed_process_is_seen_to_end_before_it_is_reaped() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(child.id() as i32).unwrap().unwrap();
        assert!(process.is_alive());
        process.kill().unwrap();
        process.ended_within("its end", Duration::from_secs(5)).await.unwrap();
        child.wait().unwrap();
        assert!(Process::open(child.id() as i32).unwrap().is_none());
    }

    #[test]
    fn no_process_has_the_number_zero() {
        assert!(Process::open(0).unwrap().is_none());
    }
}
