//! An engine for tests: the real agent as an unprivileged child.
//!
//! It fakes isolation, latency, memory and crashes, and nothing else: every
//! process and every file operation is the agent's own work, in the directory
//! that stands for the machine ([`layout`]). Nothing keeps what runs there from
//! the rest of the host but the user it runs as.
//!
//! Like a real engine's, its machines outlive the process that made them: a
//! later [`Fake`] on the same directory takes them over with [`Fake::find`].
//!
//! A checkpoint of one is the name of its processes, which are stopped and stay (their memory keeps itself), and a copy
//! of its files. So it goes on under its own id until the host is restarted; under another one, its files alone do, with
//! a fresh agent.

mod agent;
mod files;
mod layout;
mod machine;
mod ports;
mod processes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::task::JoinSet;
use wire::guest::Shims;
use wire::id::SandboxId;

use crate::steps::{Faults, StepLog};
use crate::{Error, Exit, Machine, MachineSpec, Owned, Stream, Up};
use layout::{Layout, Place};
use machine::Running;

/// How long processes have to end after SIGKILL.
const END_BOUND: Duration = Duration::from_secs(10);
/// How long to wait before dialling again while nobody listens yet.
const DIAL_RETRY: Duration = Duration::from_millis(1);

const STEP_DIRECTORY: &str = "directory";
const STEP_AGENT: &str = "agent";
const STEP_BOOT: &str = "boot";
const STEP_STOP: &str = "stop";
const STEP_WRITE: &str = "write";

/// The file of a checkpoint that names its processes.
const CHECKPOINT: &str = "processes";
/// The one that names whose they are.
const OWNER: &str = "owner";

/// What to fake.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// How long a bring-up takes on top of what it really takes.
    pub bring_up_delay: Duration,
    /// As whom machines run, user and group, if we are root; otherwise they run as we do.
    pub uid: u32,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { bring_up_delay: Duration::ZERO, uid: 65534 }
    }
}

/// See the module.
pub struct Fake {
    layout: Layout,
    faults: Faults,
    behaviour: Behaviour,
    machines: Mutex<HashMap<SandboxId, Arc<Running>>>,
    /// Wait for ends. Dropped with the engine; the machines go on.
    watchers: Mutex<JoinSet<()>>,
}

impl Fake {
    /// The steps of a bring-up, for tests that let each fail.
    pub const STEPS: &'static [&'static str] = &[STEP_DIRECTORY, STEP_AGENT, STEP_BOOT];
    /// Those of a checkpoint.
    pub const CHECKPOINT_STEPS: &'static [&'static str] = &[STEP_STOP, STEP_WRITE];

    /// An engine whose machines live below `dir`, which is made if missing and entered by nobody else.
    ///
    /// # Errors
    /// [`Error::Unfit`] when `dir` is too long a path for sockets, or machines
    /// could not enter it; [`Error::Io`].
    pub fn new(dir: PathBuf, faults: Faults, behaviour: Behaviour) -> Result<Self, Error> {
        Ok(Self {
            layout: Layout::new(dir, behaviour.uid)?,
            faults,
            behaviour,
            machines: Mutex::default(),
            watchers: Mutex::default(),
        })
    }

    /// The version of this build.
    pub fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    /// None: its kernel is the host's.
    pub fn shims(&self) -> Shims {
        Shims::default()
    }

    /// As [`crate::Engine::up`]. The image and the resources are not faked, so they are not looked at.
    ///
    /// # Errors
    /// As there, and [`Error::Exists`].
    pub async fn up(&self, spec: &MachineSpec) -> Result<Up, Error> {
        let place = self.layout.place(&spec.id);
        let from = match &spec.from {
            Some(checkpoint) => Some(checkpoint.arrived().await?),
            None => None,
        };
        if let Some(from) = from.as_deref().filter(|from| is_of(from, &spec.id)) {
            return self.go_on(&spec.id, &place, from).await;
        }
        if place.exists() {
            return Err(Error::Exists { id: spec.id.clone() });
        }
        let log = StepLog::new(self.faults.clone());
        match self.bring_up(&log, &spec.id, from.as_deref(), &place).await {
            Ok(machine) => Ok(Up { machine, steps: log.into_times() }),
            Err(failed) => {
                if let Err(error) = self.down(&spec.id).await {
                    tracing::error!(sandbox = %spec.id, %error, "a failed bring-up could not be undone");
                }
                Err(failed)
            }
        }
    }

    /// Lets the processes of a checkpoint go on.
    async fn go_on(&self, id: &SandboxId, place: &Place, from: &Path) -> Result<Up, Error> {
        let file = from.join(CHECKPOINT);
        let wanted =
            std::fs::read_to_string(&file).map_err(Error::io(format!("reading {}", file.display())))?;
        let running = self.running(id)?.filter(|running| !running.has_ended());
        let Some(running) = running.filter(|_| place.checkpointed().as_ref() == Some(&wanted)) else {
            let evidence = format!("the processes of this checkpoint ({}) are gone", wanted.trim_end());
            return Err(Error::Ended { evidence });
        };
        let log = StepLog::new(self.faults.clone());
        let went_on = log.step(STEP_BOOT, processes::go_on(place)).await;
        if went_on.is_err() {
            processes::stop(place, END_BOUND).await?;
        }
        went_on?;
        Ok(Up { machine: running.machine(), steps: log.into_times() })
    }

    /// As [`crate::Engine::checkpoint`].
    ///
    /// # Errors
    /// As there.
    pub async fn checkpoint(&self, id: &SandboxId, into: &Path) -> Result<(), Error> {
        let (place, running) = (self.layout.place(id), self.known(id)?);
        let log = StepLog::new(self.faults.clone());
        log.step(STEP_STOP, processes::stop(&place, END_BOUND)).await?;
        log.step(STEP_WRITE, async {
            let name = format!("{}\n", running.name());
            let file = into.join(CHECKPOINT);
            std::fs::write(&file, &name).map_err(Error::io(format!("writing {}", file.display())))?;
            let owner = into.join(OWNER);
            std::fs::write(&owner, id.as_str()).map_err(Error::io(format!("writing {}", owner.display())))?;
            files::pack(&place.root(), into).await?;
            place.set_checkpointed(&name)
        })
        .await
    }

    /// As [`crate::Engine::resume`].
    ///
    /// # Errors
    /// As there.
    pub async fn resume(&self, id: &SandboxId) -> Result<(), Error> {
        let place = self.layout.place(id);
        place.forget_checkpoint()?;
        processes::go_on(&place).await
    }

    /// As [`crate::Engine::release`]: the processes of a checkpoint stay, and stand still.
    ///
    /// # Errors
    /// As there.
    pub async fn release(&self, id: &SandboxId) -> Result<(), Error> {
        let place = self.layout.place(id);
        if place.checkpointed().is_some() && self.running(id)?.is_some_and(|running| !running.has_ended()) {
            return processes::stop(&place, END_BOUND).await;
        }
        self.down(id).await
    }

    async fn bring_up(
        &self,
        log: &StepLog,
        id: &SandboxId,
        from: Option<&Path>,
        place: &Place,
    ) -> Result<Machine, Error> {
        let directory = async {
            place.make()?;
            match from {
                Some(from) => files::unpack(from, &place.root()).await,
                None => Ok(()),
            }
        };
        log.step(STEP_DIRECTORY, directory).await?;
        let running = log.step(STEP_AGENT, self.start(id, place)).await?;
        log.step(STEP_BOOT, async {
            // The latency that was asked for.
            tokio::time::sleep(self.behaviour.bring_up_delay).await;
            Ok(())
        })
        .await?;
        Ok(running.machine())
    }

    /// Starts the agent and watches it. Nothing is awaited between the two, so no agent is ever left unwatched.
    async fn start(&self, id: &SandboxId, place: &Place) -> Result<Arc<Running>, Error> {
        let seen = agent::start(place).await?;
        let running = self.watch(id, place, seen)?;
        place.write_pid(&seen)?;
        Ok(running)
    }

    fn watch(&self, id: &SandboxId, place: &Place, seen: processes::Seen) -> Result<Arc<Running>, Error> {
        let (running, watcher) = Running::watched(id.clone(), place.clone(), seen)?;
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        while watchers.try_join_next().is_some() {}
        watchers.spawn(watcher);
        self.machines().insert(id.clone(), running.clone());
        Ok(running)
    }

    /// As [`crate::Engine::find`].
    ///
    /// # Errors
    /// When the process of its agent cannot be watched.
    pub async fn find(&self, id: &SandboxId) -> Result<Option<Machine>, Error> {
        Ok(self.running(id)?.filter(|running| !running.has_ended()).map(|running| running.machine()))
    }

    /// The machine of this id, taken over from an earlier process if need be.
    fn running(&self, id: &SandboxId) -> Result<Option<Arc<Running>>, Error> {
        if let Some(running) = self.machines().get(id) {
            return Ok(Some(running.clone()));
        }
        let place = self.layout.place(id);
        match place.read_pid() {
            Some(seen) if agent::is_agent_of(&place, &seen) => self.watch(id, &place, seen).map(Some),
            _ => Ok(None),
        }
    }

    /// As [`crate::Engine::down`]: undoes every step, last first.
    ///
    /// # Errors
    /// When a process or the directory is left.
    pub async fn down(&self, id: &SandboxId) -> Result<(), Error> {
        let running = self.running(id)?;
        let place = self.layout.place(id);
        if let Some(running) = &running {
            running.release();
        }
        processes::end(&place, END_BOUND).await?;
        if let Some(running) = running {
            running.ended_within(END_BOUND).await?;
            self.machines().retain(|_, other| !Arc::ptr_eq(other, &running));
        }
        place.remove().await
    }

    /// As [`crate::Engine::dial_agent`].
    ///
    /// # Errors
    /// As there.
    pub async fn dial_agent(&self, machine: &Machine, bound: Duration) -> Result<Stream, Error> {
        let socket = self.layout.place(&machine.id).socket();
        let dialled = async {
            loop {
                match UnixStream::connect(&socket).await {
                    Ok(stream) => return Stream::Unix(stream),
                    // Not there yet, not listening yet, or more callers than it accepts for now.
                    Err(_) => tokio::time::sleep(DIAL_RETRY).await,
                }
            }
        };
        tokio::select! {
            stream = dialled => Ok(stream),
            exit = machine.exited() => Err(Error::Ended { evidence: exit.evidence }),
            () = tokio::time::sleep(bound) => Err(Error::Timeout { what: "the agent's start", bound }),
        }
    }

    /// As [`crate::Engine::dial_port`]: a port of the host's, if it is a process of this machine that listens there, and not
    /// on the loopback interface alone.
    ///
    /// # Errors
    /// As there.
    pub async fn dial_port(&self, id: &SandboxId, port: u16) -> Result<Stream, Error> {
        ports::dial(&self.layout.place(id), port).await.map(Stream::Tcp)
    }

    /// As [`crate::Engine::dial_inside`], if it is a process of this machine that listens there.
    ///
    /// # Errors
    /// As there.
    pub async fn dial_inside(&self, id: &SandboxId, port: u16) -> Result<Stream, Error> {
        let place = self.layout.place(id);
        ports::check_loopback(&place, port).await?;
        let agent = UnixStream::connect(place.socket()).await;
        agent.map(Stream::Unix).map_err(Error::io("connecting to a machine's agent"))
    }

    /// As [`crate::Engine::owned`].
    ///
    /// # Errors
    /// As there.
    pub async fn owned(&self) -> Result<Vec<Owned>, Error> {
        let mut owned = self.layout.owned()?;
        for (name, seen) in processes::below(&self.layout).await? {
            owned.push(Owned { kind: "process", name: seen.pid.to_string(), owner: name.parse().ok() });
        }
        owned.sort();
        Ok(owned)
    }

    /// As [`crate::Engine::inspect`].
    pub async fn inspect(&self, id: &SandboxId) -> serde_json::Value {
        let place = self.layout.place(id);
        let processes = processes::of(&place).await.unwrap_or_default();
        let running = self.running(id).ok().flatten();
        serde_json::json!({
            "directory": place.dir(),
            "exists": place.exists(),
            "listens": place.socket().exists(),
            "agent_pid": running.as_ref().map(|running| running.pid()),
            "ended": running.as_ref().map(|running| running.has_ended()),
            "processes": processes.iter().map(processes::Seen::present).collect::<Vec<_>>(),
            "log": place.log_tail(),
        })
    }

    /// As [`crate::Engine::post_mortem`].
    pub fn post_mortem(&self, id: &SandboxId) -> Exit {
        let log = self.layout.place(id).log_tail();
        let last = if log.is_empty() { String::new() } else { format!("; its last words: {log}") };
        Exit { out_of_memory: false, evidence: format!("the agent's process ended{last}") }
    }

    /// As [`crate::Engine::condition`].
    pub fn condition(&self, id: &SandboxId) -> String {
        let running = self.running(id).ok().flatten();
        let state = running.and_then(|running| crate::process::state(running.pid()));
        state.map(|state| format!("its agent is {state}")).unwrap_or_default()
    }

    /// Nothing: no machine shares a helper.
    pub async fn close(&self) {}

    /// Crashes the machine, as if its engine had died.
    ///
    /// # Errors
    /// When there is no such machine, or a process of it is left.
    pub async fn kill(&self, id: &SandboxId) -> Result<(), Error> {
        let running = self.known(id)?;
        running.release();
        processes::end(&self.layout.place(id), END_BOUND).await?;
        running.ended_within(END_BOUND).await
    }

    /// Crashes the agent and all that ran under it, as if inside: the machine still seems to run, but nobody answers.
    ///
    /// # Errors
    /// When there is no such machine, or a process of it is left.
    pub async fn kill_agent(&self, id: &SandboxId) -> Result<(), Error> {
        self.known(id)?.withhold();
        processes::end(&self.layout.place(id), END_BOUND).await
    }

    /// Stops the agent, as if the machine hung: the connections stay, but nobody answers.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn hang(&self, id: &SandboxId) -> Result<(), Error> {
        self.known(id)?.stop()
    }

    /// When the machine ends next, it will have been for its memory.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn out_of_memory(&self, id: &SandboxId) -> Result<(), Error> {
        self.known(id)?.run_out_of_memory();
        Ok(())
    }

    fn known(&self, id: &SandboxId) -> Result<Arc<Running>, Error> {
        self.running(id)?.ok_or_else(|| Error::Ended { evidence: format!("there is no machine {id}") })
    }

    fn machines(&self) -> MutexGuard<'_, HashMap<SandboxId, Arc<Running>>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a checkpoint is of this machine, and not of another.
fn is_of(checkpoint: &Path, id: &SandboxId) -> bool {
    std::fs::read_to_string(checkpoint.join(OWNER)).is_ok_and(|owner| owner == id.as_str())
}
