//! Makes, freezes, thaws and ends one isolated machine.
//!
//! All privileged acts and all host-side `unsafe` of the project are in this
//! crate. It knows nothing of HTTP, of a store or of users: it is given a
//! [`MachineSpec`] with everything resolved, and an id.
//!
//! The door is [`Engine`]: an enum with one `match`, so that every engine
//! answers every question. What an engine leaves on the host it names after
//! the sandbox's id, so that [`Engine::down`] needs nothing but the id, and
//! [`Engine::owned`] can list what is there by owner.

pub mod agent;
pub mod fake;
pub mod gvisor;
pub mod launcher;
pub mod probe;
pub mod steps;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use wire::guest::{AGENT_TCP_PORT, Shims};
use wire::id::SandboxId;
use wire::node::StepTime;
use wire::sandbox::Resources;

pub use error::Error;
pub use origin::{Arrival, Checkpoint};
pub use stream::Stream;

mod cgroup;
mod disk;
mod error;
mod loops;
mod mounts;
mod net;
mod origin;
mod process;
mod stream;

/// A machine to bring up.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// Whose machine it is; names everything it leaves on the host.
    pub id: SandboxId,
    /// The EROFS image its root starts from; read only, shared by all machines made from it.
    pub image: PathBuf,
    /// What it may use.
    pub resources: Resources,
    /// The checkpoint that it goes on from; absent, it begins.
    pub from: Option<Checkpoint>,
}

/// A machine that runs, or did when this was made.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Whose it is.
    pub id: SandboxId,
    exit: watch::Receiver<Option<Exit>>,
}

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// True if the kernel killed it for passing its memory limit.
    pub out_of_memory: bool,
    /// What was seen: the signal or status of the engine's process, the last lines of its log.
    pub evidence: String,
}

impl Machine {
    /// A handle on a machine whose end will be said through `exit`.
    pub fn new(id: SandboxId, exit: watch::Receiver<Option<Exit>>) -> Self {
        Self { id, exit }
    }

    /// Waits until the machine has ended, by whatever cause.
    pub async fn exited(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(seen) => seen.clone().unwrap_or_else(Exit::unwatched),
            Err(_) => Exit::unwatched(),
        }
    }
}

impl Exit {
    fn unwatched() -> Self {
        Self { out_of_memory: false, evidence: "nobody watches the engine's process any more".into() }
    }
}

/// A machine that has just come up.
#[derive(Debug)]
pub struct Up {
    /// The machine.
    pub machine: Machine,
    /// How long each step took.
    pub steps: Vec<StepTime>,
}

/// The kinds of what machines leave on a host.
pub const KINDS: [&str; 9] =
    ["process", "cgroup", "netns", "mount", "loop", "disk", "directory", "engine_state", "socket"];

/// Something on the host that exists because of a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owned {
    /// One of [`KINDS`].
    pub kind: &'static str,
    /// Its name on the host.
    pub name: String,
    /// Whose it is, if its name says so.
    pub owner: Option<SandboxId>,
}

/// One of the engines.
pub enum Engine {
    /// gVisor (`runsc`): a kernel of its own in user space; needs no KVM.
    Gvisor(gvisor::Gvisor),
    /// The real agent as an unprivileged child. For tests; isolates nothing.
    Fake(fake::Fake),
}

impl Engine {
    /// Its name, as reports show it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gvisor(_) => "gvisor",
            Self::Fake(_) => "fake",
        }
    }

    /// Its version, as it says itself.
    pub fn version(&self) -> &str {
        match self {
            Self::Gvisor(engine) => engine.version(),
            Self::Fake(engine) => engine.version(),
        }
    }

    /// Flags it runs with, of which others cannot read what it wrote.
    pub fn checkpoint_flags(&self) -> Vec<String> {
        match self {
            Self::Gvisor(engine) => engine.checkpoint_flags(),
            Self::Fake(_) => Vec::new(),
        }
    }

    /// What the agent has to paper over on this engine.
    pub fn shims(&self) -> Shims {
        match self {
            Self::Gvisor(engine) => engine.shims(),
            Self::Fake(engine) => engine.shims(),
        }
    }

    /// Brings a machine up, step by step. When a step fails, all are undone and nothing is left but the checkpoint it was
    /// to go on from.
    ///
    /// # Errors
    /// [`Error`] naming the step that failed.
    pub async fn up(&self, spec: &MachineSpec) -> Result<Up, Error> {
        match self {
            Self::Gvisor(engine) => engine.up(spec).await,
            Self::Fake(engine) => engine.up(spec).await,
        }
    }

    /// The machine of this id that an earlier process of ours brought up, if it still runs.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn find(&self, id: &SandboxId) -> Result<Option<Machine>, Error> {
        match self {
            Self::Gvisor(engine) => engine.find(id).await,
            Self::Fake(engine) => engine.find(id).await,
        }
    }

    /// Takes down whatever there is of this id, whatever state it is in. Twice is as good as once.
    ///
    /// # Errors
    /// When something of it is left; naming it.
    pub async fn down(&self, id: &SandboxId) -> Result<(), Error> {
        match self {
            Self::Gvisor(engine) => engine.down(id).await,
            Self::Fake(engine) => engine.down(id).await,
        }
    }

    /// Stops all that runs in a machine, and writes what it is (its memory, its processes, what was written on its disk)
    /// into an empty directory. It stands still afterwards, until it is told to go on or taken down.
    ///
    /// # Errors
    /// [`Error::Step`]. The machine may have ended of it; else it may stand still, and is told to go on.
    pub async fn checkpoint(&self, id: &SandboxId, into: &Path) -> Result<(), Error> {
        match self {
            Self::Gvisor(engine) => engine.checkpoint(id, into).await,
            Self::Fake(engine) => engine.checkpoint(id, into).await,
        }
    }

    /// Lets a machine go on that stands still. One that does not is left alone.
    ///
    /// # Errors
    /// When it cannot be made to.
    pub async fn resume(&self, id: &SandboxId) -> Result<(), Error> {
        match self {
            Self::Gvisor(engine) => engine.resume(id).await,
            Self::Fake(engine) => engine.resume(id).await,
        }
    }

    /// As [`Engine::down`], of one whose checkpoint is kept: what that needs stays.
    ///
    /// # Errors
    /// As there.
    pub async fn release(&self, id: &SandboxId) -> Result<(), Error> {
        match self {
            // Its checkpoints have all that they need.
            Self::Gvisor(engine) => engine.down(id).await,
            Self::Fake(engine) => engine.release(id).await,
        }
    }

    /// Bytes that a checkpoint of a machine takes, at most.
    pub fn checkpoint_bytes_max(&self, id: &SandboxId) -> u64 {
        match self {
            Self::Gvisor(engine) => engine.checkpoint_bytes_max(id),
            // Its processes keep their memory themselves.
            Self::Fake(_) => 0,
        }
    }

    /// A new byte stream to the machine's agent, waiting for it to listen, `bound` at most.
    ///
    /// # Errors
    /// When the agent did not answer in time, or the machine ended.
    pub async fn dial_agent(&self, machine: &Machine, bound: Duration) -> Result<Stream, Error> {
        match self {
            Self::Gvisor(engine) => engine.dial_agent(machine, bound).await,
            Self::Fake(engine) => engine.dial_agent(machine, bound).await,
        }
    }

    /// A new byte stream to what listens on a TCP port of the machine that is open to the outside, `bound` at most for the
    /// machine to answer. The agent's own port is like any other here.
    ///
    /// # Errors
    /// [`Error::Io`] with [`std::io::ErrorKind::ConnectionRefused`] as soon as it is seen that nobody listens;
    /// [`Error::Timeout`] when nothing answered at all.
    pub async fn dial_port(&self, id: &SandboxId, port: u16, bound: Duration) -> Result<Stream, Error> {
        match self {
            Self::Gvisor(engine) => engine.dial_port(id, port, bound).await,
            Self::Fake(engine) => engine.dial_port(id, port).await,
        }
    }

    /// A new byte stream to the machine's agent, which is to be asked for `port` of the loopback interface.
    ///
    /// # Errors
    /// As [`Engine::dial_port`]; refused too where it is seen from here already that nobody of the machine listens there.
    pub async fn dial_inside(&self, id: &SandboxId, port: u16, bound: Duration) -> Result<Stream, Error> {
        match self {
            // Its loopback interface is its own.
            Self::Gvisor(engine) => engine.dial_port(id, AGENT_TCP_PORT, bound).await,
            Self::Fake(engine) => engine.dial_inside(id, port).await,
        }
    }

    /// Everything on the host that belongs to machines of this engine.
    ///
    /// # Errors
    /// When a list cannot be read.
    pub async fn owned(&self) -> Result<Vec<Owned>, Error> {
        match self {
            Self::Gvisor(engine) => engine.owned().await,
            Self::Fake(engine) => engine.owned().await,
        }
    }

    /// What the engine knows of a machine, for people.
    pub async fn inspect(&self, id: &SandboxId) -> serde_json::Value {
        match self {
            Self::Gvisor(engine) => engine.inspect(id).await,
            Self::Fake(engine) => engine.inspect(id).await,
        }
    }

    /// How a machine ended that nobody watched, as far as that can still be seen: before it is taken down.
    pub async fn post_mortem(&self, id: &SandboxId) -> Exit {
        match self {
            Self::Gvisor(engine) => engine.post_mortem(id).await,
            Self::Fake(engine) => engine.post_mortem(id),
        }
    }

    /// What can be seen of a machine that does not answer, for people. Empty when that is nothing.
    pub async fn condition(&self, id: &SandboxId) -> String {
        match self {
            Self::Gvisor(engine) => engine.condition(id).await,
            Self::Fake(engine) => engine.condition(id),
        }
    }

    /// Machines of whose disk the host could not keep something, and what was seen of it. They read something else
    /// than they wrote, and are not told.
    pub async fn failed_disks(&self) -> Vec<(SandboxId, String)> {
        match self {
            Self::Gvisor(engine) => engine.failed_disks().await,
            // Its machines write to the host's own file system, which tells them itself.
            Self::Fake(_) => Vec::new(),
        }
    }

    /// Nobody talks to the machine: its timers may be late from now on (50 ms at most), which costs the host less.
    pub fn doze(&self, id: &SandboxId) {
        match self {
            Self::Gvisor(engine) => engine.doze(id),
            Self::Fake(_) => {}
        }
    }

    /// Somebody will talk to the machine: its timers are on time again when this returns.
    pub fn wake(&self, id: &SandboxId) {
        match self {
            Self::Gvisor(engine) => engine.wake(id),
            Self::Fake(_) => {}
        }
    }

    /// Ends helpers of the engine that no machine needs any more. Machines that run go on.
    pub async fn close(&self) {
        match self {
            Self::Gvisor(engine) => engine.close().await,
            Self::Fake(engine) => engine.close().await,
        }
    }
}

/// What a file takes of its disk.
fn used_bytes(file: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    // st_blocks counts 512 bytes, whatever the file system's blocks are (stat(2)).
    std::fs::metadata(file).ok().map(|metadata| metadata.blocks() * 512)
}
