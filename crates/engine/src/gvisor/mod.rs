//! gVisor: a sandbox is a kernel in user space (`runsc`, platform systrap).
//!
//! ```text
//! node ── launcher ── runsc-sandbox   (netns S, cgroup <parent>/<id>)
//!   │             └── runsc-gofer
//!   └ sockets in netns R ── veth ── S
//!
//! <dir>/disks/<id>.img            the writable disk          <run_dir>/netns/<id>    R
//! <dir>/bundles/<id>/             config.json, pid           <run_dir>/runsc/*<id>*  runsc's own records
//! ```
//!
//! runsc is asked to run a sandbox and nothing else. A sandbox is ended by
//! killing the processes of its control group and removing what is named after
//! it, which works as well when runsc's records are garbage.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use wire::guest::{AGENT_TCP_PORT, Shims};
use wire::id::SandboxId;

use crate::cgroup::Cgroups;
use crate::disk::Disks;
use crate::launcher::Launcher;
use crate::net::{Networks, dial};
use crate::steps::Faults;
use crate::{Error, Exit, Machine, MachineSpec, Owned, Stream, Up};
use runsc::Runsc;

pub use bundle::{AGENT_PATH, MEMORY_HEADROOM_MIB};

mod bringup;
mod bundle;
mod census;
mod checkpoint;
mod idle;
pub(crate) mod runsc;
mod watch;

/// Where everything is. Two configurations must share neither directory nor control group.
#[derive(Debug, Clone)]
pub struct Config {
    /// The `runsc` program.
    pub runsc: PathBuf,
    /// The agent's program, on the host; a file that is never changed, as snapshots refer to it.
    pub agent: PathBuf,
    /// What outlives a restart of the host is kept here: disks, bundles, the agent in its place.
    pub dir: PathBuf,
    /// What does not: sockets, pinned namespaces, runsc's records. Short, as sockets have short names.
    pub run_dir: PathBuf,
    /// The control group all sandboxes are in, like `atoll-default`.
    pub cgroup_parent: String,
    /// The command that starts the launcher, without its settings: a program and its first arguments.
    pub launcher: Vec<OsString>,
    /// Failures that tests ask for.
    pub faults: Faults,
}

/// The engine.
#[derive(Debug, Clone)]
pub struct Gvisor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    runsc: Runsc,
    launcher: Arc<Launcher>,
    cgroups: Cgroups,
    disks: Disks,
    networks: Networks,
    /// The directory that puts the agent into every image.
    skeleton: PathBuf,
    /// One caller at a time for each sandbox.
    turns: Mutex<HashMap<SandboxId, Weak<tokio::sync::Mutex<()>>>>,
    /// Machines whose end is being watched for.
    machines: Mutex<HashMap<SandboxId, Machine>>,
}

impl Gvisor {
    /// The steps of a bring-up, for tests that fail each in turn.
    pub const STEPS: [&str; 6] = bringup::STEPS;
    /// Those of one from a checkpoint.
    pub const STEPS_FROM: [&str; 7] = bringup::STEPS_FROM;
    /// Those of a checkpoint.
    pub const CHECKPOINT_STEPS: [&str; 2] = checkpoint::STEPS;

    /// Looks at runsc and the kernel, and makes the directories. Starts nothing.
    ///
    /// # Errors
    /// [`Error::Unfit`] when this host cannot run sandboxes, with what mends it.
    pub fn open(config: Config) -> Result<Self, Error> {
        let runsc = Runsc::probe(&config.runsc)?;
        for directory in [&config.dir, &config.run_dir] {
            make_private(directory)?;
        }
        for directory in [config.bundles(), config.records()] {
            make_private(&directory)?;
        }
        let launcher = Launcher::new(config.launcher.clone(), runsc.surroundings(&config.run_dir)?);
        tracing::debug!(version = %runsc.version, shims = ?runsc.shims(), ?launcher, "runsc probed");
        let inner = Inner {
            cgroups: Cgroups::open(&config.cgroup_parent)?,
            disks: Disks::open(config.dir.join("disks"))?,
            networks: Networks::open(config.run_dir.join("netns"))?,
            launcher: Arc::new(launcher),
            skeleton: bundle::make_skeleton(&config.dir.join("skeletons"), &config.agent)?,
            runsc,
            config,
            turns: Mutex::default(),
            machines: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What runsc says its version is.
    pub fn version(&self) -> &str {
        &self.inner.runsc.version
    }

    /// See [`crate::Engine::checkpoint_flags`].
    pub fn checkpoint_flags(&self) -> Vec<String> {
        self.inner.runsc.flags_of_all().map(str::to_owned).collect()
    }

    /// What the agent has to paper over.
    pub fn shims(&self) -> Shims {
        self.inner.runsc.shims()
    }

    /// See [`crate::Engine::up`]. A caller that goes away does not stop it half way.
    ///
    /// # Errors
    /// [`Error::Step`], or [`Error::Exists`], which leaves what is there alone.
    pub async fn up(&self, spec: &MachineSpec) -> Result<Up, Error> {
        let (inner, spec) = (self.inner.clone(), spec.clone());
        let whole = tokio::spawn(async move {
            let _turn = inner.turn(&spec.id).await;
            inner.bring_up(&spec).await
        });
        whole.await.unwrap_or_else(|cut| Err(Error::io("bringing a machine up")(io::Error::other(cut))))
    }

    /// See [`crate::Engine::find`].
    ///
    /// # Errors
    /// When the process cannot be opened.
    pub async fn find(&self, id: &SandboxId) -> Result<Option<Machine>, Error> {
        let _turn = self.inner.turn(id).await;
        self.inner.find(id)
    }

    /// See [`crate::Engine::down`]. A caller that goes away does not stop it half way.
    ///
    /// # Errors
    /// The first thing that could not be removed; the rest was.
    pub async fn down(&self, id: &SandboxId) -> Result<(), Error> {
        let (inner, id) = (self.inner.clone(), id.clone());
        let whole = tokio::spawn(async move {
            let _turn = inner.turn(&id).await;
            inner.take_down(&id).await
        });
        whole.await.unwrap_or_else(|cut| Err(Error::io("taking a machine down")(io::Error::other(cut))))
    }

    /// See [`crate::Engine::checkpoint`]. A caller that goes away does not stop it half way.
    ///
    /// # Errors
    /// As there.
    pub async fn checkpoint(&self, id: &SandboxId, into: &Path) -> Result<(), Error> {
        let (inner, id, into) = (self.inner.clone(), id.clone(), into.to_owned());
        let whole = tokio::spawn(async move {
            let _turn = inner.turn(&id).await;
            inner.checkpoint(&id, &into).await
        });
        whole.await.unwrap_or_else(|cut| Err(Error::io("writing a checkpoint")(io::Error::other(cut))))
    }

    /// See [`crate::Engine::resume`].
    ///
    /// # Errors
    /// As there.
    pub async fn resume(&self, id: &SandboxId) -> Result<(), Error> {
        let _turn = self.inner.turn(id).await;
        self.inner.resume(id).await
    }

    /// See [`crate::Engine::checkpoint_bytes_max`].
    pub fn checkpoint_bytes_max(&self, id: &SandboxId) -> u64 {
        self.inner.checkpoint_bytes_max(id)
    }

    /// See [`crate::Engine::dial_agent`].
    ///
    /// # Errors
    /// [`Error::Ended`] if the machine ends meanwhile, [`Error::Timeout`] if nobody answers.
    pub async fn dial_agent(&self, machine: &Machine, bound: Duration) -> Result<Stream, Error> {
        let namespace = self.inner.networks.namespace(&machine.id)?;
        tokio::select! {
            biased;
            exit = machine.exited() => Err(Error::Ended { evidence: exit.evidence }),
            stream = dial::connect(&namespace, AGENT_TCP_PORT, bound, Some(dial::AGENT_REFUSED_WAIT_MAX)) => {
                stream.map(Stream::Tcp)
            }
        }
    }

    /// See [`crate::Engine::dial_port`].
    ///
    /// # Errors
    /// As there.
    pub async fn dial_port(&self, id: &SandboxId, port: u16, bound: Duration) -> Result<Stream, Error> {
        let namespace = self.inner.networks.namespace(id)?;
        dial::connect(&namespace, port, bound, None).await.map(Stream::Tcp)
    }

    /// See [`crate::Engine::owned`].
    ///
    /// # Errors
    /// When a list cannot be read.
    pub async fn owned(&self) -> Result<Vec<Owned>, Error> {
        self.inner.owned().await
    }

    /// See [`crate::Engine::inspect`].
    pub async fn inspect(&self, id: &SandboxId) -> serde_json::Value {
        self.inner.inspect(id)
    }

    /// See [`crate::Engine::post_mortem`].
    pub async fn post_mortem(&self, id: &SandboxId) -> Exit {
        self.inner.post_mortem(id).await
    }

    /// See [`crate::Engine::condition`].
    pub async fn condition(&self, id: &SandboxId) -> String {
        self.inner.condition(id).await
    }

    /// See [`crate::Engine::failed_disks`].
    pub async fn failed_disks(&self) -> Vec<(SandboxId, String)> {
        let disks = self.inner.disks.clone();
        let looked = tokio::task::spawn_blocking(move || disks.failed()).await;
        match looked.unwrap_or_else(|cut| Err(Error::io("looking at disks")(io::Error::other(cut)))) {
            Ok(failed) => failed,
            Err(error) => {
                tracing::warn!(%error, "the disks cannot be looked at");
                Vec::new()
            }
        }
    }

    /// See [`crate::Engine::doze`].
    pub fn doze(&self, id: &SandboxId) {
        self.inner.set_timer_slack(id, idle::TIMER_SLACK_IDLE);
    }

    /// See [`crate::Engine::wake`].
    pub fn wake(&self, id: &SandboxId) {
        self.inner.set_timer_slack(id, idle::TIMER_SLACK_ACTIVE);
    }

    /// See [`crate::Engine::close`].
    pub async fn close(&self) {
        self.inner.close().await;
    }
}

impl Config {
    fn bundles(&self) -> PathBuf {
        self.dir.join("bundles")
    }

    fn bundle(&self, id: &SandboxId) -> PathBuf {
        self.bundles().join(id.as_str())
    }

    /// runsc's own records: whoever can write here commands every sandbox.
    fn records(&self) -> PathBuf {
        self.run_dir.join("runsc")
    }
}

impl Inner {
    /// Waits until nobody else is at work on this sandbox.
    async fn turn(&self, id: &SandboxId) -> OwnedMutexGuard<()> {
        let mutex = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let known = turns.get(id).and_then(Weak::upgrade);
            let mutex = known.unwrap_or_default();
            turns.insert(id.clone(), Arc::downgrade(&mutex));
            mutex
        };
        mutex.lock_owned().await
    }

    fn machines(&self) -> std::sync::MutexGuard<'_, HashMap<SandboxId, Machine>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn close(&self) {
        if self.cgroups.all().iter().any(|(_, processes)| !processes.is_empty()) {
            return;
        }
        if let Err(error) = self.launcher.quit().await {
            tracing::warn!(%error, "the launcher could not be ended");
            return;
        }
        self.cgroups.remove_parents();
        let run_dir = &self.config.run_dir;
        for name in ["launcher.sock", "launcher.lock", "launcher.log"] {
            // What is not there need not be removed.
            let _ = fs::remove_file(run_dir.join(name));
        }
        let mount_points = fs::read_dir(run_dir.join("images")).into_iter().flatten().flatten();
        for directory in mount_points.map(|entry| entry.path()) {
            for name in ["image", "root", ""] {
                let _ = fs::remove_dir(directory.join(name));
            }
        }
        for directory in ["images", "netns", "runsc", ""] {
            // Only empty ones go: what is in another belongs to a sandbox.
            let _ = fs::remove_dir(run_dir.join(directory));
        }
    }
}

fn make_private(directory: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(Error::io(format!("creating {}", directory.display())))
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
