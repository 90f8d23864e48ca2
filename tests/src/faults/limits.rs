//! Limits that are put on a running process, and what it has and takes.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// A process that gets no more descriptors than it has, until this is dropped.
pub struct Descriptors {
    process: Pid,
    before: Rlimit,
}

impl Descriptors {
    /// Of a process, which may open so many more.
    ///
    /// # Panics
    /// When it does not run.
    pub fn limit(process: Pid, spare: u64) -> Self {
        let open = descriptors(process);
        let first_free = (0..).find(|number| !open.contains(number)).unwrap_or(0);
        let before = rustix::process::getrlimit(Resource::Nofile);
        let limit = Rlimit { current: Some(first_free + spare), maximum: before.maximum };
        let before = prlimit(Some(process), Resource::Nofile, limit).expect("it runs, and we are root");
        Self { process, before }
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        let _ = prlimit(Some(self.process), Resource::Nofile, self.before);
    }
}

/// The descriptors a process has.
pub fn descriptors(process: Pid) -> Vec<u64> {
    let entries =
        fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The processor time a process has taken, in ticks (of which there are 100 a second).
///
/// # Panics
/// When it does not run.
pub fn processor_ticks(process: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).expect("it runs");
    let after_name = stat.rsplit_once(')').expect("a name in brackets").1;
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// How many threads a process has.
pub fn threads(process: Pid) -> usize {
    fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())).map_or(0, Iterator::count)
}

/// Processes that may start so few more, until this is dropped: a control group around them.
pub struct FewProcesses {
    group: PathBuf,
    outside: PathBuf,
    members: Vec<Pid>,
}

impl FewProcesses {
    /// Of these, which together may start `spare` more processes or threads.
    ///
    /// # Panics
    /// When there is no `pids` controller, or we are not root.
    pub fn limit(members: &[Pid], spare: usize) -> Self {
        let root = hierarchy();
        let outside = root.join(group_of(members[0]).trim_start_matches('/'));
        let group = root.join(format!("atoll-story-{}", std::process::id()));
        fs::create_dir(&group).expect("a control group");
        let few = Self { group, outside, members: members.to_vec() };
        few.members.iter().for_each(|member| few.put(&few.group, *member));
        let now: usize = members.iter().map(|member| threads(*member)).sum();
        fs::write(few.group.join("pids.max"), (now + spare).to_string()).expect("a limit");
        few
    }

    fn put(&self, group: &std::path::Path, member: Pid) {
        let _ = fs::write(group.join("cgroup.procs"), member.as_raw_nonzero().to_string());
    }
}

impl Drop for FewProcesses {
    fn drop(&mut self) {
        let _ = fs::write(self.group.join("pids.max"), "max");
        // What they started meanwhile is in it, too.
        let inside = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        let inside = inside.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?));
        inside.for_each(|process| self.put(&self.outside, process));
        let _ = fs::remove_dir(&self.group);
    }
}

/// Where the `pids` controller is mounted: a hierarchy of its own, or the one of all.
fn hierarchy() -> PathBuf {
    let own = PathBuf::from("/sys/fs/cgroup/pids");
    if own.is_dir() { own } else { "/sys/fs/cgroup".into() }
}

fn group_of(process: Pid) -> String {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", process.as_raw_nonzero())).unwrap_or_default();
    let fields = text.lines().map(|line| line.splitn(3, ':').collect::<Vec<_>>());
    let wanted =
        fields.into_iter().filter(|line| line.len() == 3 && (line[1] == "pids" || line[1].is_empty()));
    wanted.map(|line| line[2].to_owned()).next().unwrap_or_default()
}
