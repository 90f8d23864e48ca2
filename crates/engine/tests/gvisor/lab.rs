//! One gVisor engine of a test's own: its directories, its control groups, its image, and a look at what is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use engine::gvisor::{Config, Gvisor};
use engine::steps::Faults;
use engine::{Machine, MachineSpec};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use wire::id::{ENTROPY_BYTES, SandboxId};
use wire::sandbox::Resources;

use crate::guest::{Guest, TOKEN};

/// How long anything here may take.
pub const WAIT: Duration = Duration::from_secs(60);

pub struct Lab {
    pub engine: Gvisor,
    pub faults: Faults,
    pub image: PathBuf,
    config: Config,
    directory: TempDir,
}

impl Lab {
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests make real sandboxes: run them as root");
        let directory = tempfile::Builder::new().prefix("atoll-gvisor-").tempdir().unwrap();
        let faults = Faults::default();
        let config = Config {
            runsc: std::env::var_os("ATOLL_RUNSC").unwrap_or_else(|| "runsc".into()).into(),
            agent: engine::agent::install(&directory.path().join("agent")).unwrap(),
            dir: directory.path().join("data"),
            run_dir: directory.path().join("run"),
            cgroup_parent: name_of(&directory),
            launcher: vec![env!("CARGO_BIN_EXE_launcher-for-tests").into()],
            faults: faults.clone(),
        };
        let image = make_image(directory.path());
        let engine = Gvisor::open(config.clone()).unwrap();
        Self { engine, faults, image, config, directory }
    }

    pub fn spec(&self) -> MachineSpec {
        let resources = Resources { vcpu: 1, memory_mib: 512, disk_mib: 128, processes_max: 256 };
        MachineSpec { id: fresh_id(), image: self.image.clone(), resources, from: None }
    }

    pub async fn up(&self) -> Machine {
        self.engine.up(&self.spec()).await.unwrap().machine
    }

    pub async fn guest(&self, machine: &Machine) -> Guest {
        self.guest_with(machine, TOKEN).await
    }

    /// The same with 64 of this digit for a token.
    pub async fn guest_with(&self, machine: &Machine, token: &str) -> Guest {
        Guest::greet(self.engine.dial_agent(machine, WAIT).await.unwrap(), token).await
    }

    /// An empty directory.
    pub fn fresh_directory(&self) -> PathBuf {
        let directory = self.directory.path().join(format!("fresh-{}", fresh_id()));
        fs::create_dir(&directory).unwrap();
        directory
    }

    /// The engine as the next process of the node finds it.
    pub fn reopened(&mut self) {
        self.engine = Gvisor::open(self.config.clone()).unwrap();
    }

    pub fn data(&self, path: impl AsRef<Path>) -> PathBuf {
        self.config.dir.join(path)
    }

    pub fn run_dir(&self, path: impl AsRef<Path>) -> PathBuf {
        self.config.run_dir.join(path)
    }

    /// The control groups of a sandbox, in every hierarchy that is mounted.
    pub fn cgroups(&self, id: &SandboxId) -> Vec<PathBuf> {
        let roots = cgroup_roots().into_iter();
        roots
            .map(|root| root.join(&self.config.cgroup_parent).join(id.as_str()))
            .filter(|d| d.exists())
            .collect()
    }

    /// The process numbers of our launchers.
    pub fn launchers(&self) -> Vec<i32> {
        let run_dir = self.config.run_dir.to_str().unwrap();
        processes(|arguments| arguments.contains(&"launcher-for-tests") && arguments.contains(&run_dir))
    }

    /// The process numbers of a sandbox's file servers.
    pub fn file_servers(&self, id: &SandboxId) -> Vec<i32> {
        runsc_processes("gofer", id)
    }

    /// The process numbers of a sandbox's kernels, which are to be.
    pub fn kernels(&self, id: &SandboxId) -> Vec<i32> {
        runsc_processes("boot", id)
    }

    /// Waits until a sandbox's kernel waits for what it goes on from.
    pub async fn waits(&self, id: &SandboxId) {
        let record = self.run_dir("runsc").join(format!("{id}_sandbox:{id}.state"));
        let waits =
            || fs::read_to_string(&record).is_ok_and(|record| record.contains(r#""status":"created""#));
        while !waits() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub fn kill_launcher(&self) {
        let launchers = self.launchers();
        assert_eq!(launchers.len(), 1);
        kill(launchers[0]);
    }

    /// What there is on the host that has our name in it, besides our own directory: mounts here, control groups of
    /// sandboxes, loop devices, processes but the launcher.
    pub fn traces(&self) -> Vec<String> {
        let name = name_of(&self.directory);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut traces: Vec<String> =
            mounts.lines().filter(|l| l.contains(&name)).map(str::to_owned).collect();
        for parent in cgroup_roots().into_iter().map(|root| root.join(&name)) {
            let directories = fs::read_dir(parent).into_iter().flatten().flatten();
            traces.extend(directories.filter(|d| d.path().is_dir()).map(|d| d.path().display().to_string()));
        }
        for device in fs::read_dir("/sys/block").unwrap().flatten() {
            let file = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            // The image, where this kernel mounts it through a device, is there as long as the launcher.
            traces.extend((file.contains(&name) && !file.contains("image.erofs")).then_some(file));
        }
        let ours = |arguments: &[&str]| {
            arguments.iter().any(|a| a.contains(&name)) && !arguments.contains(&"launcher-for-tests")
        };
        traces.extend(processes(ours).into_iter().map(|pid| format!("process {pid}")));
        traces
    }

    /// Nothing of any sandbox is left, as the engine sees it and as the host does.
    pub async fn assert_clean(&self) {
        assert_eq!(self.engine.owned().await.unwrap(), []);
        assert_eq!(self.traces(), [] as [String; 0]);
    }

    /// The end of a test that went well: nothing is left, not even the launcher.
    pub async fn end(self) {
        self.assert_clean().await;
        self.engine.close().await;
        assert_eq!(self.launchers(), [] as [i32; 0]);
        assert!(!self.config.run_dir.exists(), "{} is left", self.config.run_dir.display());
        for root in cgroup_roots() {
            assert!(
                !root.join(&self.config.cgroup_parent).exists(),
                "a control group is left in {}",
                root.display()
            );
        }
    }
}

impl Drop for Lab {
    /// A test that failed leaves nothing either, as far as the engine can still help it.
    fn drop(&mut self) {
        let engine = self.engine.clone();
        let clean = async move {
            for owner in engine.owned().await.unwrap_or_default().into_iter().filter_map(|owned| owned.owner)
            {
                let _ = engine.down(&owner).await;
            }
            engine.close().await;
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = std::thread::spawn(move || runtime.block_on(clean)).join();
        self.launchers().into_iter().for_each(kill);
    }
}

pub fn fresh_id() -> SandboxId {
    let mut entropy = [0; ENTROPY_BYTES];
    getrandom::fill(&mut entropy).unwrap();
    SandboxId::from_entropy(entropy)
}

fn runsc_processes(role: &str, id: &SandboxId) -> Vec<i32> {
    let is_its = |arguments: &[&str]| arguments.iter().any(|argument| argument.contains(id.as_str()));
    processes(|arguments| arguments.contains(&role) && is_its(arguments))
}

pub fn kill(pid: i32) {
    signal(pid, Signal::KILL);
}

/// It does nothing from now on, not even end by itself.
pub fn stop(pid: i32) {
    signal(pid, Signal::STOP);
}

fn signal(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

fn name_of(directory: &TempDir) -> String {
    directory.path().file_name().unwrap().to_str().unwrap().to_owned()
}

fn cgroup_roots() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    words.filter(|w| w[2].starts_with("cgroup")).map(|w| PathBuf::from(w[1])).collect()
}

/// Processes whose arguments, the directory of the program taken off, are such.
fn processes(such: impl Fn(&[&str]) -> bool) -> Vec<i32> {
    let mut found = Vec::new();
    for pid in fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()) {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments: Vec<&str> = line.split('\0').collect();
        arguments[0] = arguments[0].rsplit('/').next().unwrap();
        if such(&arguments) {
            found.push(pid);
        }
    }
    found
}

/// An image with nothing but a shell and its commands in it.
fn make_image(directory: &Path) -> PathBuf {
    let (tree, image) = (directory.join("tree"), directory.join("image.erofs"));
    for name in ["bin", "proc", "sys", "dev", "tmp", "root"] {
        fs::create_dir_all(tree.join(name)).unwrap();
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    fs::copy(busybox.expect("run: apt-get install busybox-static"), tree.join("bin/busybox")).unwrap();
    for command in ["sh", "dd", "nc", "cat", "tail", "ls", "stat"] {
        std::os::unix::fs::symlink("busybox", tree.join("bin").join(command)).unwrap();
    }
    let mkfs = Command::new("mkfs.erofs").args(["--quiet", "-T0"]).arg(&image).arg(&tree).output();
    let made = mkfs.expect("run: apt-get install erofs-utils");
    assert!(made.status.success(), "mkfs.erofs: {}", String::from_utf8_lossy(&made.stderr));
    image
}
