//! An independent look at the host: what is there that bears the name of a site, found without asking Atoll.
//!
//! It is not the census of the engine, told again: it goes by the names of
//! directories and of the installation alone, looks into every mount
//! namespace, and takes whatever it does not know for a trace.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, kill_process};

use crate::server::Site;

/// Ends what is left of a site, as far as that can be done by force.
pub fn sweep(site: &Site) {
    let run = site.run_dir();
    let group = format!("/atoll-{}/", site.instance());
    let launcher = run.join("engine").display().to_string();
    for pid in pids() {
        let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let is_launcher = read("cmdline").contains("launcher") && read("cmdline").contains(&launcher);
        // Machines of the fake engine, and what runs in them, are plain processes.
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let is_fake = Path::new(&read("cmdline")).starts_with(&run) || cwd.starts_with(&run);
        if (is_launcher || is_fake || read("cgroup").contains(&group))
            && let Some(pid) = Pid::from_raw(pid)
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    for pin in entries(run.join("engine/netns")) {
        let _ = rustix::mount::unmount(&pin, UnmountFlags::DETACH);
    }
    let began = Instant::now();
    while cgroups(&site.instance()).iter().any(|group| fs::remove_dir(&group.name).is_err()) {
        if began.elapsed() > SWEEP_BOUND {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    cgroup_parents(&site.instance()).for_each(|parent| drop(fs::remove_dir(parent)));
    let _ = fs::remove_dir_all(run);
}

/// The kernel has so long to let go of the groups of killed processes.
const SWEEP_BOUND: Duration = Duration::from_secs(10);

/// Where the threads of a process wait in the kernel, one a line.
pub fn stacks(pid: Pid) -> String {
    let tasks = entries(format!("/proc/{}/task", pid.as_raw_nonzero()).into());
    let line = |task: PathBuf| {
        let read = |file| fs::read_to_string(task.join(file)).unwrap_or_default().replace('\n', " ");
        format!("{} in {}: {}\n", read("comm"), read("wchan"), read("stack"))
    };
    tasks.into_iter().map(line).collect()
}

/// Something that is there because of a site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trace {
    /// `process`, `cgroup`, `mount`, `loop`, `file`, `record`.
    pub kind: &'static str,
    /// What it is called.
    pub name: String,
}

/// Everything but the server itself and what it keeps for all sandboxes together.
pub fn traces(site: &Site) -> Vec<Trace> {
    let (data, run, instance) = (site.data(), site.run_dir(), site.instance());
    let mut traces = processes(&data, &run, &instance);
    traces.extend(cgroups(&instance));
    traces.extend(mounts(&data, &run));
    traces.extend(loops(&data));
    traces.extend(files(&data, &run));
    traces.extend(records(&data));
    traces.sort();
    traces
}

fn processes(data: &Path, run: &Path, instance: &str) -> Vec<Trace> {
    let (data, run) = (data.display().to_string(), run.display().to_string());
    let group = format!("/atoll-{instance}/");
    let mut found = Vec::new();
    for pid in pids() {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let group = fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .unwrap_or_default()
            .lines()
            .find(|line| line.contains(&group))
            .unwrap_or_default()
            .to_owned();
        let ours = command.contains(" role ") || command.contains(" serve ");
        if !ours && (command.contains(&data) || command.contains(&run) || !group.is_empty()) {
            found.push(Trace { kind: "process", name: format!("{pid} {group} {command}") });
        }
    }
    found
}

fn cgroup_parents(instance: &str) -> impl Iterator<Item = PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let roots: Vec<PathBuf> =
        words.filter(|words| words[2].starts_with("cgroup")).map(|words| PathBuf::from(words[1])).collect();
    let name = format!("atoll-{instance}");
    roots.into_iter().map(move |root| root.join(&name))
}

fn cgroups(instance: &str) -> Vec<Trace> {
    let groups = cgroup_parents(instance).flat_map(entries).filter(|path| path.is_dir());
    groups.map(|path| Trace { kind: "cgroup", name: path.display().to_string() }).collect()
}

/// Mounts in any namespace a process is in, but those of images, which all sandboxes share.
fn mounts(data: &Path, run: &Path) -> Vec<Trace> {
    let images = run.join("engine/images");
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for pid in pids() {
        let Ok(namespace) = fs::metadata(format!("/proc/{pid}/ns/mnt")) else { continue };
        if !seen.insert(namespace.ino()) {
            continue;
        }
        let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        for point in table.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new) {
            if (point.starts_with(data) || point.starts_with(run)) && !point.starts_with(&images) {
                found.push(Trace { kind: "mount", name: format!("{} of {pid}", point.display()) });
            }
        }
    }
    found
}

fn loops(data: &Path) -> Vec<Trace> {
    let images = data.join("node/images");
    let mut found = Vec::new();
    for device in entries(PathBuf::from("/sys/block")) {
        let file = fs::read_to_string(device.join("loop/backing_file")).unwrap_or_default();
        let file = Path::new(file.trim());
        if file.starts_with(data) && !file.starts_with(&images) {
            found
                .push(Trace { kind: "loop", name: format!("{} shows {}", device.display(), file.display()) });
        }
    }
    found
}

/// Files that belong to one sandbox, and drafts of whatever kind that nobody finished.
fn files(data: &Path, run: &Path) -> Vec<Trace> {
    let node = data.join("node");
    let is_base = |path: &Path| name(path).starts_with("base-") && name(path).ends_with(".img");
    let places = ["engine/disks", "engine/bundles"].map(|place| node.join(place));
    let runs = ["engine/netns", "engine/runsc"].map(|place| run.join(place));
    let mut found: Vec<PathBuf> = places.into_iter().chain(runs).flat_map(entries).collect();
    found.retain(|path| !is_base(path));
    let mut drafts = Vec::new();
    for directory in [node.join("engine/agent"), node.join("engine/skeletons"), data.join("control"), node] {
        walk(&directory, &mut drafts);
    }
    drafts.retain(|path| is_draft(path));
    found.extend(drafts);
    found.sort();
    found.dedup();
    found.into_iter().map(|path| Trace { kind: "file", name: path.display().to_string() }).collect()
}

/// What a node remembers of sandboxes. It does so until control has heard of their end.
fn records(data: &Path) -> Vec<Trace> {
    let records = entries(data.join("node/records")).into_iter();
    records.map(|path| Trace { kind: "record", name: path.display().to_string() }).collect()
}

fn is_draft(path: &Path) -> bool {
    let name = name(path);
    name.ends_with(".draft") || name.ends_with(".new") || name.starts_with(".agent-")
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for path in entries(directory.to_owned()) {
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn entries(directory: PathBuf) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// All processes of the host.
pub fn pids() -> Vec<i32> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}
