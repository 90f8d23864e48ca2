//! Everything on the host that is there because of a sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use wire::id::{SUFFIX_CHARS, SandboxId};

use super::Inner;
use crate::{Error, Owned, process, used_bytes};

impl Inner {
    pub(super) async fn owned(&self) -> Result<Vec<Owned>, Error> {
        let mut owned = self.owned_processes()?;
        owned.extend(self.cgroups.all().iter().map(|(path, _)| by_path("cgroup", path)));
        owned.extend(self.networks.pins()?.iter().map(|path| by_path("netns", path)));
        owned.extend(self.disks.files()?.iter().map(|path| by_path("disk", path)));
        owned.extend(self.disks.loops()?.into_iter().map(|(device, file)| Owned {
            kind: "loop",
            name: format!("{device} ({})", file.display()),
            owner: owner_of(&file.to_string_lossy()),
        }));
        owned.extend(self.records()?.iter().map(|path| by_path("engine_state", path)));
        owned.extend(self.bundles()?.iter().map(|path| by_path("directory", path)));
        owned.extend(self.owned_mounts().await);
        owned.sort();
        Ok(owned)
    }

    /// runsc's processes, wherever they are: their numbers, and for whom they run.
    pub(super) fn runsc_processes(&self) -> Result<BTreeMap<i32, Option<SandboxId>>, Error> {
        let mut found = BTreeMap::new();
        let root = format!("--root={}", self.config.records().display());
        for pid in process::all().map_err(Error::io("listing processes"))? {
            let arguments = process::arguments(pid);
            if arguments.contains(&root) {
                found.insert(pid, arguments.iter().find_map(|argument| owner_of(argument)));
            }
        }
        Ok(found)
    }

    /// Processes in our control groups, and runsc's wherever they are.
    fn owned_processes(&self) -> Result<Vec<Owned>, Error> {
        let mut found = self.runsc_processes()?;
        for (group, processes) in self.cgroups.all() {
            found.extend(processes.into_iter().map(|pid| (pid, owner_of(&group.to_string_lossy()))));
        }
        let owned =
            |(pid, owner)| Owned { kind: "process", name: format!("{pid} ({})", name_of(pid)), owner };
        Ok(found.into_iter().map(owned).collect())
    }

    /// Mounts below our directories in the launcher, the images shared by all left out, and in this process, the
    /// pinned namespaces, which are listed as such, left out.
    async fn owned_mounts(&self) -> Vec<Owned> {
        let mut points = mount_points("self");
        if let Some(pid) = self.launcher.pid().await {
            points.extend(mount_points(&pid.to_string()));
        }
        let shared = [self.config.run_dir.join("images"), self.config.run_dir.join("netns")];
        let ours = |point: &Path| {
            let inside = [&self.config.dir, &self.config.run_dir];
            inside.iter().any(|directory| point != directory.as_path() && point.starts_with(directory))
                && !shared.iter().any(|directory| point.starts_with(directory))
        };
        points.retain(|point| ours(Path::new(point)));
        points.sort();
        points.dedup();
        points.into_iter().map(|point| by_path("mount", Path::new(&point))).collect()
    }

    fn bundles(&self) -> Result<Vec<std::path::PathBuf>, Error> {
        let directory = self.config.bundles();
        let what = || format!("listing {}", directory.display());
        let entries = fs::read_dir(&directory).map_err(Error::io(what()))?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io(what()))).collect()
    }

    pub(super) fn inspect(&self, id: &SandboxId) -> Value {
        let processes: Vec<String> =
            self.cgroups.processes(id).into_iter().map(|pid| format!("{pid} ({})", name_of(pid))).collect();
        let loops = self.disks.loops().unwrap_or_default();
        let device =
            loops.into_iter().find(|(_, file)| *file == self.disks.path(id)).map(|(device, _)| device);
        let [memory_bytes, memory_limit_bytes] = self.cgroups.memory(id);
        json!({
            "engine": "gvisor",
            "version": self.runsc.version,
            "pid": self.recorded_pid(id),
            "running": matches!(self.process(id), Ok(Some(_))),
            "processes": processes,
            "cgroup": self.cgroups.path(id),
            "memory_bytes": memory_bytes,
            "memory_limit_bytes": memory_limit_bytes,
            "memory_kills": self.cgroups.oom_kills(id),
            "netns": self.networks.pin_path(id),
            "disk": self.disks.path(id),
            "disk_bytes_used": used_bytes(&self.disks.path(id)),
            "loop": device,
            "bundle": self.config.bundle(id),
        })
    }
}

fn by_path(kind: &'static str, path: &Path) -> Owned {
    let name = path.display().to_string();
    Owned { kind, owner: owner_of(&name), name }
}

/// The sandbox whose id is in a text.
fn owner_of(text: &str) -> Option<SandboxId> {
    let starts = text.match_indices(SandboxId::PREFIX).map(|(start, _)| start);
    let length = SandboxId::PREFIX.len() + 1 + SUFFIX_CHARS;
    starts.filter_map(|start| text.get(start..start + length)).find_map(|id| id.parse().ok())
}

fn mount_points(process: &str) -> Vec<String> {
    let mounts = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
    mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

fn name_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_found_wherever_its_id_stands() {
        let id = SandboxId::from_entropy([5; wire::id::ENTROPY_BYTES]);
        for text in [
            format!("/sys/fs/cgroup/memory/atoll-x/{id}"),
            format!("/run/atoll/x/runsc/{id}_sandbox:{id}.state"),
            format!("sbx-short/{id}.img"),
        ] {
            assert_eq!(owner_of(&text), Some(id.clone()), "{text}");
        }
        assert_eq!(owner_of("/run/atoll/x/runsc/sbx-notanid"), None);
    }
}
