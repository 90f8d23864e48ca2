//! The steps that make a sandbox, and their undoing.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wire::id::SandboxId;

use super::bundle::Bundle;
use super::checkpoint::order_key;
use super::{Inner, missing_is_fine};
use crate::process::Process;
use crate::steps::StepLog;
use crate::{Error, Machine, MachineSpec, Up};

/// The steps, in order; `image`, `disk` and `network` run side by side.
pub(super) const STEPS: [&str; 6] = [DIRECTORY, IMAGE, DISK, NETWORK, BUNDLE, MACHINE];
/// The same of one that goes on from a checkpoint, which arrives during all but the last.
pub(super) const STEPS_FROM: [&str; 7] = [DIRECTORY, IMAGE, DISK, NETWORK, BUNDLE, KERNEL, MACHINE];
const DIRECTORY: &str = "directory";
const IMAGE: &str = "image";
const DISK: &str = "disk";
const NETWORK: &str = "network";
const BUNDLE: &str = "bundle";
const KERNEL: &str = "kernel";
const MACHINE: &str = "machine";
/// The steps of an end.
const KILLED: &str = "killed";
const FREED: &str = "freed";

/// How long runsc may take to say that a sandbox runs. A loaded host needs seconds.
const RUN_WAIT: Duration = Duration::from_secs(60);
/// The same of one that goes on from a checkpoint, all of which is read before: gigabytes, from a slow disk.
const RESTORE_WAIT: Duration = Duration::from_secs(300);
/// How long a killed start may take to end.
const STRAY_WAIT: Duration = Duration::from_secs(10);

impl Inner {
    pub(super) async fn bring_up(self: &Arc<Self>, spec: &MachineSpec) -> Result<Up, Error> {
        if self.config.bundle(&spec.id).exists() {
            return Err(Error::Exists { id: spec.id.clone() });
        }
        let log = StepLog::new(self.config.faults.clone());
        match self.forwards(spec, &log).await {
            Ok(machine) => Ok(Up { machine, steps: log.into_times() }),
            Err(error) => {
                if let Err(left) = self.take_down(&spec.id).await {
                    tracing::error!(id = %spec.id, error = %left, "a failed bring-up could not be undone");
                }
                Err(error)
            }
        }
    }

    async fn forwards(self: &Arc<Self>, spec: &MachineSpec, log: &StepLog) -> Result<Machine, Error> {
        // S has no name of its own: it is this process's descriptor until the sandbox's kernel is in it.
        let Some(checkpoint) = &spec.from else {
            let _network = self.furnish(spec, log).await?;
            return log.step(MACHINE, self.run(spec)).await;
        };
        // A kernel can be started before it is known what it goes on from. It is undone like all else if that never comes.
        let (network, from) = tokio::join!(self.furnish_and_start(spec, log), checkpoint.arrived());
        let (_network, from) = (network?, from?);
        log.step(MACHINE, self.go_on(spec, &from)).await
    }

    /// Makes all that a sandbox's kernel needs. Its network, S.
    async fn furnish(self: &Arc<Self>, spec: &MachineSpec, log: &StepLog) -> Result<OwnedFd, Error> {
        log.step(DIRECTORY, self.on_a_thread("making a directory", spec, Self::make_directory)).await?;
        // All run to their end even if one fails: what is half done cannot be undone.
        let (image, disk, network) = tokio::join!(
            log.step(IMAGE, self.launcher.image(&spec.image, &self.skeleton)),
            log.step(DISK, self.make_disk(spec)),
            log.step(NETWORK, self.networks.create(&spec.id)),
        );
        let (root, network) = (image?, network?);
        disk?;
        let netns = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), network.as_raw_fd()));
        let write = move |inner: &Self, spec: &MachineSpec| inner.write_bundle(spec, &root, &netns);
        log.step(BUNDLE, self.on_a_thread("writing a bundle", spec, write)).await?;
        Ok(network)
    }

    async fn furnish_and_start(
        self: &Arc<Self>,
        spec: &MachineSpec,
        log: &StepLog,
    ) -> Result<OwnedFd, Error> {
        let network = self.furnish(spec, log).await?;
        log.step(KERNEL, self.create(spec)).await?;
        Ok(network)
    }

    /// Does what may have to wait for the host's disk, while others go on.
    async fn on_a_thread(
        self: &Arc<Self>,
        what: &'static str,
        spec: &MachineSpec,
        work: impl FnOnce(&Self, &MachineSpec) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let (inner, spec) = (self.clone(), spec.clone());
        let done = tokio::task::spawn_blocking(move || work(&inner, &spec)).await;
        done.unwrap_or_else(|cut| Err(Error::io(what)(io::Error::other(cut))))
    }

    fn make_directory(&self, spec: &MachineSpec) -> Result<(), Error> {
        let bundle = self.config.bundle(&spec.id);
        fs::create_dir(&bundle).map_err(Error::io(format!("creating {}", bundle.display())))
    }

    async fn make_disk(&self, spec: &MachineSpec) -> Result<(), Error> {
        let (disks, id, mib) = (self.disks.clone(), spec.id.clone(), spec.resources.disk_mib);
        let made = tokio::task::spawn_blocking(move || disks.create(&id, mib)).await;
        let disk = made.unwrap_or_else(|cut| Err(Error::io("making a disk")(io::Error::other(cut))))?;
        self.launcher.disk(spec.id.as_str(), &disk).await
    }

    fn write_bundle(&self, spec: &MachineSpec, root: &Path, netns: &Path) -> Result<(), Error> {
        let bundle = Bundle {
            root,
            netns,
            cgroup: &self.cgroups.path(&spec.id),
            limit_swap: self.cgroups.limits_swap(),
            resources: spec.resources,
        };
        let path = self.config.bundle(&spec.id).join("config.json");
        fs::write(&path, bundle.to_config().to_string())
            .map_err(Error::io(format!("writing {}", path.display())))
    }

    async fn run(&self, spec: &MachineSpec) -> Result<Machine, Error> {
        let args = self.runsc.run_args(&self.config.records(), &self.config.bundle(&spec.id), &spec.id);
        self.launcher.run(spec.id.as_str(), "runsc run", &self.runsc.program, args, RUN_WAIT).await?;
        self.came_up(&spec.id).await
    }

    async fn create(&self, spec: &MachineSpec) -> Result<(), Error> {
        let args = self.runsc.create_args(&self.config.records(), &self.config.bundle(&spec.id), &spec.id);
        self.launcher.run(spec.id.as_str(), "runsc create", &self.runsc.program, args, RUN_WAIT).await
    }

    async fn go_on(&self, spec: &MachineSpec, from: &Path) -> Result<Machine, Error> {
        let bundle = self.config.bundle(&spec.id);
        let args = self.runsc.restore_args(&self.config.records(), &bundle, from, &spec.id);
        self.order(&spec.id, "runsc restore", args, RESTORE_WAIT).await?;
        self.came_up(&spec.id).await
    }

    async fn came_up(&self, id: &SandboxId) -> Result<Machine, Error> {
        match self.process(id)? {
            Some(process) => Ok(self.watch(id, process)),
            None => Err(Error::Ended { evidence: self.post_mortem(id).await.evidence }),
        }
    }

    /// The process of a sandbox that runs: the one runsc wrote down, if it is still that one.
    pub(super) fn process(&self, id: &SandboxId) -> Result<Option<Process>, Error> {
        let Some(pid) = self.recorded_pid(id) else { return Ok(None) };
        let process = Process::open(pid).map_err(Error::io(format!("opening process {pid}")))?;
        // Its number may have gone to somebody else; its control group cannot have.
        Ok(process.filter(|process| process.is_alive() && self.cgroups.holds(id, pid)))
    }

    pub(super) fn recorded_pid(&self, id: &SandboxId) -> Option<i32> {
        fs::read_to_string(self.config.bundle(id).join("pid")).ok()?.trim().parse().ok()
    }

    pub(super) fn find(&self, id: &SandboxId) -> Result<Option<Machine>, Error> {
        if let Some(machine) = self.machines().get(id) {
            return Ok(machine.exit.borrow().is_none().then(|| machine.clone()));
        }
        Ok(self.process(id)?.map(|process| self.watch(id, process)))
    }

    /// Undoes every step, the machine first, whatever became of it. Goes on where one fails, and says the first
    /// failure.
    pub(super) async fn take_down(self: &Arc<Self>, id: &SandboxId) -> Result<(), Error> {
        let ordered = self.launcher.forget(&order_key(id)).await;
        let forgotten = self.launcher.forget(id.as_str()).await;
        let mut results = vec![];
        if !matches!(forgotten, Ok(true)) {
            results.push(self.kill_strays(id).await);
        }
        results.extend([ordered.map(drop), forgotten.map(drop), self.cgroups.kill(id).await]);
        self.config.faults.reached(KILLED).await;
        // Without processes the rest is in nobody's way.
        let (cgroups, disk, files) =
            tokio::join!(self.cgroups.remove(id), self.disks.remove(id), self.remove_files(id));
        self.config.faults.reached(FREED).await;
        results.extend([cgroups, disk, files]);
        self.machines().remove(id);
        results.into_iter().collect()
    }

    /// Kills what runs for a sandbox outside of its control group, and waits for its end: a start whose launcher died
    /// may go on for a moment.
    async fn kill_strays(&self, id: &SandboxId) -> Result<(), Error> {
        for pid in self.runsc_processes()?.into_iter().filter(|(_, owner)| owner.as_ref() == Some(id)) {
            let what = || format!("killing process {}", pid.0);
            if let Some(process) = Process::open(pid.0).map_err(Error::io(what()))? {
                process.kill().map_err(Error::io(what()))?;
                process.ended_within("the end of a start", STRAY_WAIT).await?;
            }
        }
        Ok(())
    }

    /// Removes everything that is a file, on a thread that may wait for the host's disk. The bundle goes last: while
    /// it is there, the id is taken.
    async fn remove_files(self: &Arc<Self>, id: &SandboxId) -> Result<(), Error> {
        let (inner, id) = (self.clone(), id.clone());
        let remove = move || {
            let results =
                [inner.remove_records(&id), inner.networks.remove(&id), inner.remove_directory(&id)];
            results.into_iter().collect()
        };
        let removed = tokio::task::spawn_blocking(remove).await;
        removed.unwrap_or_else(|cut| Err(Error::io("removing files")(io::Error::other(cut))))
    }

    /// Removes what runsc wrote down about a sandbox, readable or not.
    fn remove_records(&self, id: &SandboxId) -> Result<(), Error> {
        for path in self.records()? {
            if path.file_name().is_some_and(|name| name.to_string_lossy().contains(id.as_str())) {
                fs::remove_file(&path)
                    .or_else(missing_is_fine)
                    .map_err(Error::io(format!("removing {}", path.display())))?;
            }
        }
        Ok(())
    }

    /// All files runsc wrote.
    pub(super) fn records(&self) -> Result<Vec<PathBuf>, Error> {
        let directory = self.config.records();
        let what = || format!("listing {}", directory.display());
        let entries = fs::read_dir(&directory).map_err(Error::io(what()))?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io(what()))).collect()
    }

    fn remove_directory(&self, id: &SandboxId) -> Result<(), Error> {
        let bundle = self.config.bundle(id);
        fs::remove_dir_all(&bundle)
            .or_else(missing_is_fine)
            .map_err(Error::io(format!("removing {}", bundle.display())))
    }
}
