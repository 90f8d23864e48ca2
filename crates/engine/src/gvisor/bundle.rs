//! What runsc is told about a sandbox: `config.json` of an OCI bundle
//! (OCI runtime-spec, `config.md`).

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wire::guest::AGENT_TCP_PORT;
use wire::sandbox::Resources;

use super::missing_is_fine;
use crate::Error;

/// What runsc itself may use of the memory its control group may, in MiB: its heap, its stacks, its page tables.
pub const MEMORY_HEADROOM_MIB: u32 = 64;
/// Where the agent's program is, inside.
pub const AGENT_PATH: &str = "/.atoll/agent";

/// A directory that has nothing but the agent in it, in its place: laid over every image, as images are read only
/// and not ours. It is named after the agent's file and never changed, as snapshots refer to it. Returns its path.
pub(super) fn make_skeleton(directory: &Path, agent: &Path) -> Result<PathBuf, Error> {
    let name = agent.file_name().unwrap_or(agent.as_os_str());
    let skeleton = directory.join(name);
    let draft = skeleton.with_extension("draft");
    // A crash may have left it.
    let made = fs::remove_dir_all(&draft).or_else(missing_is_fine).and_then(|()| {
        if skeleton.exists() {
            return Ok(());
        }
        fill(&draft, agent)?;
        fs::rename(&draft, &skeleton)
    });
    made.map_err(Error::io(format!("putting {} into {}", agent.display(), skeleton.display())))?;
    Ok(skeleton)
}

/// Whole on the disk before it has its name: an agent cut by a lost host would be every sandbox's.
fn fill(draft: &Path, agent: &Path) -> io::Result<()> {
    let target = draft.join(AGENT_PATH.trim_start_matches('/'));
    fs::create_dir_all(target.parent().unwrap_or(draft))?;
    // It becomes the root directory of every sandbox.
    fs::set_permissions(draft, Permissions::from_mode(0o755))?;
    fs::copy(agent, &target)?;
    fs::set_permissions(&target, Permissions::from_mode(0o755))?;
    File::open(&target)?.sync_all()
}

/// Host tasks for each task inside: its own, and the thread of the sandbox's kernel that serves it.
const HOST_TASKS_PER_TASK: u32 = 2;
/// Host tasks on top of that. A sandbox that reaches the sum dies: this stops abuse, the agent enforces the limit.
const HOST_TASKS_SPARE: u32 = 4096;
/// The kernel's accounting period for CPU time, in microseconds.
const CPU_PERIOD_MICROS: u64 = 100_000;
/// Open files of a process inside.
const OPEN_FILES_MAX: u64 = 65_536;

/// What the agent may do inside: all that an ordinary container's root may, and what it needs to mount, limit
/// and name. It hands less to what it starts. Nothing of the network's configuration, no raw packets.
const CAPABILITIES: [&str; 15] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_RESOURCE",
];

/// What a bundle is made of. All paths are of the host, as the launcher sees it.
#[derive(Debug)]
pub(super) struct Bundle<'a> {
    /// The mounted image, with the agent in it.
    pub root: &'a Path,
    /// The network namespace the sandbox's kernel takes over.
    pub netns: &'a Path,
    /// From the root of the control group hierarchies.
    pub cgroup: &'a str,
    /// True where the kernel can be told to give no swap.
    pub limit_swap: bool,
    pub resources: Resources,
}

impl Bundle<'_> {
    /// The text of `config.json`.
    pub(super) fn to_config(&self) -> Value {
        let capabilities = CAPABILITIES;
        json!({
            "ociVersion": "1.0.2",
            "hostname": "sandbox",
            "root": { "path": self.root, "readonly": false },
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "cwd": "/",
                "args": [AGENT_PATH, "--listen", format!("tcp:0.0.0.0:{AGENT_TCP_PORT}")],
                "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
                "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": OPEN_FILES_MAX, "hard": OPEN_FILES_MAX }],
            },
            "mounts": self.mounts(),
            "linux": {
                "cgroupsPath": self.cgroup,
                "resources": self.resources(),
                "namespaces": [
                    { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                    { "type": "network", "path": self.netns },
                ],
            },
        })
    }

    fn mounts(&self) -> Value {
        json!([
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"] },
        ])
    }

    fn resources(&self) -> Value {
        let Resources { vcpu, memory_mib, processes_max, .. } = self.resources;
        let memory_bytes = u64::from(memory_mib + MEMORY_HEADROOM_MIB) * 1024 * 1024;
        let mut memory = json!({ "limit": memory_bytes });
        if self.limit_swap {
            // Memory and swap together: none of it swap.
            memory["swap"] = json!(memory_bytes);
        }
        json!({
            "memory": memory,
            "cpu": { "quota": u64::from(vcpu) * CPU_PERIOD_MICROS, "period": CPU_PERIOD_MICROS },
            "pids": { "limit": processes_max * HOST_TASKS_PER_TASK + HOST_TASKS_SPARE },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(limit_swap: bool) -> Value {
        let resources = Resources { vcpu: 2, memory_mib: 512, disk_mib: 1, processes_max: 100 };
        let bundle = Bundle {
            root: Path::new("/images/1"),
            netns: Path::new("/proc/1/fd/3"),
            cgroup: "/atoll-x/sbx-1",
            limit_swap,
            resources,
        };
        bundle.to_config()
    }

    #[test]
    fn limits_are_what_was_asked_for_and_the_engines_own() {
        let resources = &config(true)["linux"]["resources"];
        assert_eq!(resources["memory"]["limit"], 576u64 << 20);
        assert_eq!(resources["memory"]["swap"], 576u64 << 20);
        assert_eq!(resources["cpu"]["quota"], 200_000);
        assert_eq!(resources["pids"]["limit"], 4296);
        assert!(config(false)["linux"]["resources"]["memory"]["swap"].is_null());
    }

    #[test]
    fn a_skeleton_is_whole_or_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let (agent, skeletons) = (directory.path().join("agent-1"), directory.path().join("skeletons"));
        fs::write(&agent, b"agent").unwrap();
        let half = skeletons.join("agent-1.draft/.atoll");
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("agent"), b"ag").unwrap();
        for _ in 0..2 {
            let skeleton = make_skeleton(&skeletons, &agent).unwrap();
            assert_eq!(fs::read(skeleton.join(".atoll/agent")).unwrap(), b"agent");
            assert_eq!(fs::read_dir(&skeletons).unwrap().count(), 1, "something else was left");
        }
    }

    #[test]
    fn the_agent_gets_no_power_over_the_network() {
        let bounding = config(true)["process"]["capabilities"]["bounding"].to_string();
        assert!(!bounding.contains("NET_ADMIN") && !bounding.contains("NET_RAW"), "{bounding}");
    }
}
