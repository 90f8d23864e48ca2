//! The network of a sandbox: two namespaces and a wire between them.
//!
//! ```text
//!  S, the engine's                      R, ours, pinned at <run_dir>/netns/<sandbox id>
//!  +--------------------------+         +---------------------------+
//!  | eth0 172.16.0.2/30       |--veth---| gw0 172.16.0.1/30         |   no uplink, no listener,
//!  | default via 172.16.0.1   |         | the node's sockets        |   forwards nothing
//!  +--------------------------+         +---------------------------+
//! ```
//!
//! The engine takes over S whole and drives its wire with raw packets, so no
//! rule inside S would see anything: all policy is R's. R has no way out, so
//! whatever leaves the sandbox ends there unless a socket of ours answers.
//! Addresses are the same in every sandbox: a snapshot carries none of them.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::mount::UnmountFlags;
use rustix::thread::UnshareFlags;
use tokio::sync::oneshot;
use wire::id::SandboxId;

use crate::Error;
use netlink::{Batch, End};

pub(crate) mod dial;
mod netlink;

/// The sandbox's end of the wire.
const INSIDE: End =
    End { name: "eth0", index: 100, mac: [2, 0, 0, 0, 0, 2], address: Ipv4Addr::new(172, 16, 0, 2) };
/// Our end of the wire.
const GATEWAY: End =
    End { name: "gw0", index: 101, mac: [2, 0, 0, 0, 0, 1], address: Ipv4Addr::new(172, 16, 0, 1) };
/// Bits of the network the two are in.
const PREFIX: u8 = 30;

/// The calling thread's network namespace.
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// What a host lacks that is at its limit.
const NO_MORE: &str = "the host has no more network namespaces; raise its sysctl user.max_net_namespaces";
/// Settings of a namespace that must be right before its first interface comes up. A kernel without IPv6 lacks some.
const SETTINGS: [(&str, &str); 3] = [
    ("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"),
    ("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"),
    ("/proc/sys/net/ipv4/ip_forward", "0"),
];

/// The pinned namespaces of all sandboxes.
#[derive(Debug, Clone)]
pub(crate) struct Networks {
    directory: PathBuf,
}

impl Networks {
    /// Networks pinned in `directory`, which is made if missing.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&directory).map_err(Error::io(format!("creating {}", directory.display())))?;
        Ok(Self { directory })
    }

    /// Where a sandbox's R is pinned.
    pub(crate) fn pin_path(&self, id: &SandboxId) -> PathBuf {
        self.directory.join(id.as_str())
    }

    /// Makes both namespaces of a sandbox. R is pinned; S lives as long as what is returned or a process in it.
    ///
    /// # Errors
    /// When the kernel refuses a part of it.
    pub(crate) async fn create(&self, id: &SandboxId) -> Result<OwnedFd, Error> {
        let pin = self.pin_path(id);
        on_own_thread(move || create(&pin)).await.map_err(Error::io(format!("making the network of {id}")))
    }

    /// Lets R go, and the wire with it once S is gone. Nothing to let go of is fine.
    ///
    /// # Errors
    /// When the pin cannot be removed.
    pub(crate) fn remove(&self, id: &SandboxId) -> Result<(), Error> {
        let pin = self.pin_path(id);
        unpin(&pin).map_err(Error::io(format!("unpinning {}", pin.display())))
    }

    /// A sandbox's R.
    pub(crate) fn namespace(&self, id: &SandboxId) -> Result<File, Error> {
        let pin = self.pin_path(id);
        File::open(&pin).map_err(Error::io(format!("opening {}", pin.display())))
    }

    /// All pins.
    pub(crate) fn pins(&self) -> Result<Vec<PathBuf>, Error> {
        let what = || format!("listing {}", self.directory.display());
        let entries = fs::read_dir(&self.directory).map_err(Error::io(what()))?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io(what()))).collect()
    }
}

/// Runs something that changes the namespace of its thread on a thread that ends with it.
async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (send, receive) = oneshot::channel();
    let run = move || {
        // Nobody listens any more: whoever asked has gone, and undoes by name.
        let _ = send.send(work());
    };
    thread::Builder::new().name("atoll-netns".into()).spawn(run)?;
    receive.await.unwrap_or_else(|_| Err(io::Error::other("the namespace thread panicked")))
}

fn create(pin: &Path) -> io::Result<OwnedFd> {
    let policy = new_namespace()?;
    pin_namespace(pin)?;
    wire_up(&policy)
}

/// Makes S, and the wire from there to R, which the calling thread is in.
fn wire_up(policy: &OwnedFd) -> io::Result<OwnedFd> {
    let inside = new_namespace()?;
    Batch::default()
        .veth(INSIDE, GATEWAY, policy.as_fd())
        .loopback_up()
        .interface_up(INSIDE, PREFIX, GATEWAY)
        .default_route(GATEWAY.address)
        .run()?;
    rustix::thread::move_into_link_name_space(policy.as_fd(), None)?;
    Batch::default().loopback_up().interface_up(GATEWAY, PREFIX, INSIDE).run()?;
    Ok(inside)
}

/// Moves the calling thread into a new namespace.
fn new_namespace() -> io::Result<OwnedFd> {
    // SAFETY: NEWNET does not touch the descriptor table, which is what makes `unshare` unsafe.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|error| match error {
        // In the kernel's own words, no space is left on a device.
        rustix::io::Errno::NOSPC => io::Error::other(NO_MORE),
        error => error.into(),
    })?;
    for (setting, value) in SETTINGS {
        match fs::write(setting, value) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(File::open(OWN_NAMESPACE)?.into())
}

/// Keeps the calling thread's namespace alive, under a name, past this process.
fn pin_namespace(pin: &Path) -> io::Result<()> {
    File::create_new(pin)?;
    Ok(rustix::mount::mount_bind(OWN_NAMESPACE, pin)?)
}

fn unpin(pin: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    match rustix::mount::unmount(pin, UnmountFlags::DETACH) {
        // INVAL: the file is there, but nothing is mounted on it.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    match fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a whole network and drops it.
pub(crate) fn probe() -> io::Result<()> {
    let make = || wire_up(&new_namespace()?).map(drop);
    thread::spawn(make).join().unwrap_or_else(|_| Err(io::Error::other("the probing thread panicked")))
}

/// True if a new network namespace shows `net.core.rmem_default` (Linux 6.11 and later).
pub(crate) fn namespaces_show_rmem_default() -> io::Result<bool> {
    let look = || {
        new_namespace()?;
        Ok(Path::new("/proc/sys/net/core/rmem_default").exists())
    };
    thread::spawn(look).join().unwrap_or_else(|_| Err(io::Error::other("the probing thread panicked")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the process that has no namespaces left.
    const AT_THE_LIMIT: &str = "ATOLL_TEST_AT_THE_LIMIT";

    #[test]
    fn a_host_at_its_limit_of_namespaces_is_told_apart_from_a_full_disk() {
        if std::env::var_os(AT_THE_LIMIT).is_some() {
            let refused = thread::spawn(new_namespace).join().unwrap();
            assert!(refused.unwrap_err().to_string().contains("user.max_net_namespaces"));
            return;
        }
        // The limit of the host is everybody's; that of a user namespace is ours.
        let limit = "echo 0 > /proc/sys/user/max_net_namespaces && exec \"$0\" told_apart_from_a_full_disk";
        let mut inside = Command::new("unshare");
        inside.args(["--user", "--map-root-user", "sh", "-c", limit]).arg(std::env::current_exe().unwrap());
        let output = inside.env(AT_THE_LIMIT, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    }
}
