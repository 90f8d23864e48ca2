//! The control groups of our machines: `<hierarchy>/<parent>/<sandbox id>`.
//!
//! Works on both versions of cgroups and on hosts that mount both. The engine's
//! own program makes the groups; here they are found, emptied and removed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::id::SandboxId;

use crate::Error;
use crate::process::Process;

/// How long the killed processes of one group may take to end.
const EMPTY_WAIT: Duration = Duration::from_secs(10);
/// How long the kernel may hold on to a group whose last process has ended.
const REMOVE_WAIT: Duration = Duration::from_secs(2);
/// How often that is tried: the kernel offers no event for it.
const REMOVE_POLL: Duration = Duration::from_millis(1);

/// The groups of one installation.
#[derive(Debug, Clone)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    parent: String,
}

/// One place where the kernel shows control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    root: PathBuf,
    /// Version 2.
    unified: bool,
    /// Controllers of version 1.
    controllers: Vec<String>,
}

impl Cgroups {
    /// The groups below `parent` in every hierarchy that is mounted.
    ///
    /// # Errors
    /// When the mounts cannot be read.
    pub(crate) fn open(parent: &str) -> Result<Self, Error> {
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").map_err(Error::io("reading /proc/self/mountinfo"))?;
        Ok(Self { hierarchies: parse_hierarchies(&mounts), parent: parent.to_owned() })
    }

    /// The path of a sandbox's group, from the root of any hierarchy.
    pub(crate) fn path(&self, id: &SandboxId) -> String {
        format!("/{}/{id}", self.parent)
    }

    /// True if the process is in the sandbox's group, in any hierarchy.
    pub(crate) fn holds(&self, id: &SandboxId, pid: i32) -> bool {
        let path = self.path(id);
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|group| group == path)
    }

    /// The sandbox's processes.
    pub(crate) fn processes(&self, id: &SandboxId) -> BTreeSet<i32> {
        self.directories(id).iter().flat_map(|directory| processes_in(directory)).collect()
    }

    /// Kills every process of the sandbox and waits until all have ended.
    ///
    /// # Errors
    /// When some will not end in time.
    pub(crate) async fn kill(&self, id: &SandboxId) -> Result<(), Error> {
        self.thaw(id);
        let kill_all = async {
            loop {
                let killed = self.kill_once(id)?;
                if killed.is_empty() {
                    return Ok(());
                }
                for process in killed {
                    process.ended().await.map_err(Error::io("waiting for a process of a sandbox"))?;
                }
            }
        };
        let bound = EMPTY_WAIT;
        let timeout = Error::Timeout { what: "the end of a sandbox's processes", bound };
        tokio::time::timeout(bound, kill_all).await.unwrap_or(Err(timeout))
    }

    fn kill_once(&self, id: &SandboxId) -> Result<Vec<Process>, Error> {
        let mut killed = Vec::new();
        for pid in self.processes(id) {
            let what = || format!("killing process {pid} of {id}");
            let Some(process) = Process::open(pid).map_err(Error::io(what()))? else { continue };
            // The number was read before the descriptor was opened: look again whose it is.
            if process.is_alive() && self.holds(id, pid) {
                process.kill().map_err(Error::io(what()))?;
                killed.push(process);
            }
        }
        Ok(killed)
    }

    /// A process frozen by version 1 does not die before it is thawed.
    fn thaw(&self, id: &SandboxId) {
        for directory in self.directories(id) {
            // Only one hierarchy has the file, and none if nothing was ever frozen.
            let state = directory.join("freezer.state");
            if state.exists() {
                let _ = fs::write(state, "THAWED");
            }
        }
    }

    /// Removes the sandbox's empty groups.
    ///
    /// # Errors
    /// When one is still in use after [`REMOVE_WAIT`].
    pub(crate) async fn remove(&self, id: &SandboxId) -> Result<(), Error> {
        for directory in self.directories(id) {
            let deadline = tokio::time::Instant::now() + REMOVE_WAIT;
            while let Err(error) = fs::remove_dir(&directory) {
                match error.kind() {
                    io::ErrorKind::NotFound => break,
                    io::ErrorKind::ResourceBusy if tokio::time::Instant::now() < deadline => {
                        tokio::time::sleep(REMOVE_POLL).await;
                    }
                    _ => return Err(Error::io(format!("removing {}", directory.display()))(error)),
                }
            }
        }
        Ok(())
    }

    /// Removes the parents of all groups where they are empty.
    pub(crate) fn remove_parents(&self) {
        for hierarchy in &self.hierarchies {
            // A parent that holds a sandbox of another process of ours stays.
            let _ = fs::remove_dir(hierarchy.root.join(&self.parent));
        }
    }

    /// How often the kernel killed a process of the sandbox for passing its memory limit.
    pub(crate) fn oom_kills(&self, id: &SandboxId) -> u64 {
        let counter = |directory: PathBuf| {
            let file = ["memory.events", "memory.oom_control"].map(|name| directory.join(name));
            let text = file.iter().find_map(|file| fs::read_to_string(file).ok())?;
            text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
        };
        self.directories(id).into_iter().filter_map(counter).max().unwrap_or(0)
    }

    /// Memory the sandbox uses and may use, in bytes, as the kernel's files say.
    pub(crate) fn memory(&self, id: &SandboxId) -> [Option<u64>; 2] {
        let files = [["memory.current", "memory.usage_in_bytes"], ["memory.max", "memory.limit_in_bytes"]];
        files.map(|names| {
            let paths = self.directories(id).into_iter().flat_map(|d| names.map(|name| d.join(name)));
            paths.filter_map(|path| fs::read_to_string(path).ok()).find_map(|text| text.trim().parse().ok())
        })
    }

    /// Every group below the parent: its path, and the processes in it.
    pub(crate) fn all(&self) -> Vec<(PathBuf, Vec<i32>)> {
        let parents = self.hierarchies.iter().map(|hierarchy| hierarchy.root.join(&self.parent));
        let entries = parents.filter_map(|parent| fs::read_dir(parent).ok()).flatten().flatten();
        let directories = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
        directories.map(|path| (path.clone(), processes_in(&path))).collect()
    }

    /// True if the kernel can be told how much swap a group may use.
    pub(crate) fn limits_swap(&self) -> bool {
        let version1 = |hierarchy: &Hierarchy| hierarchy.root.join("memory.memsw.limit_in_bytes").exists();
        match self.hierarchies.iter().find(|hierarchy| hierarchy.controllers.iter().any(|c| c == "memory")) {
            Some(hierarchy) => version1(hierarchy),
            None => Path::new("/proc/swaps").exists(),
        }
    }

    fn directories(&self, id: &SandboxId) -> Vec<PathBuf> {
        let paths =
            self.hierarchies.iter().map(|hierarchy| hierarchy.root.join(&self.parent).join(id.as_str()));
        paths.filter(|path| path.is_dir()).collect()
    }
}

/// True if a host with these controllers mounted (or delegated) can limit memory, CPU and processes.
pub(crate) fn lacking_controllers() -> io::Result<Vec<&'static str>> {
    let hierarchies = parse_hierarchies(&fs::read_to_string("/proc/self/mountinfo")?);
    let mut present: BTreeSet<String> = BTreeSet::new();
    for hierarchy in hierarchies {
        present.extend(hierarchy.controllers);
        if hierarchy.unified {
            let listed = fs::read_to_string(hierarchy.root.join("cgroup.controllers")).unwrap_or_default();
            present.extend(listed.split_whitespace().map(str::to_owned));
        }
    }
    Ok(["cpu", "memory", "pids"].into_iter().filter(|name| !present.contains(*name)).collect())
}

/// The file with the processes of the first group that `/proc/<pid>/cgroup` names and that can be found.
pub(crate) fn process_list(groups: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let hierarchies = parse_hierarchies(&mounts);
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        let wanted = |hierarchy: &&Hierarchy| match controllers {
            "" => hierarchy.unified,
            names => names.split(',').all(|name| hierarchy.controllers.iter().any(|known| known == name)),
        };
        let root = &hierarchies.iter().find(wanted)?.root;
        let list = root.join(group.trim_start_matches('/')).join("cgroup.procs");
        list.exists().then_some(list)
    })
}

fn processes_in(directory: &Path) -> Vec<i32> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Reads `/proc/self/mountinfo` (proc(5)): `… root mount-point … - type source options`.
fn parse_hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(root) = left.split(' ').nth(4) else { continue };
        let mut right = right.split(' ');
        let (Some(kind), _, Some(options)) = (right.next(), right.next(), right.next()) else { continue };
        if kind != "cgroup" && kind != "cgroup2" {
            continue;
        }
        let unified = kind == "cgroup2";
        let controllers = if unified { Vec::new() } else { options.split(',').map(str::to_owned).collect() };
        let hierarchy = Hierarchy { root: PathBuf::from(root), unified, controllers };
        if !found.contains(&hierarchy) {
            found.push(hierarchy);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cgroups_are_found_among_other_mounts() {
        let mountinfo = "\
22 1 0:20 / /proc rw,relatime - proc proc rw
31 25 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
32 31 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
33 31 0:28 / /sys/fs/cgroup/memory rw shared:11 master:1 - cgroup cgroup rw,memory
";
        let found = parse_hierarchies(mountinfo);
        let roots: Vec<_> = found.iter().map(|h| (h.root.to_str().unwrap(), h.unified)).collect();
        assert_eq!(roots, [("/sys/fs/cgroup/unified", true), ("/sys/fs/cgroup/memory", false)]);
        assert!(found[1].controllers.contains(&"memory".to_owned()));
    }
}
