//! Finding the processes that are killed.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use testkit::host;
use testkit::server::Site;

/// Kills a process, which may have ended.
pub fn kill(pid: Pid) {
    let _ = kill_process(pid, Signal::KILL);
}

/// The launcher of a site, if it runs.
pub fn launcher(site: &Site) -> Option<Pid> {
    let run_dir = site.run_dir().join("engine").display().to_string();
    find(|arguments| arguments.contains(&"launcher") && arguments.contains(&run_dir.as_str()))
}

/// The kernel of a sandbox's machine.
pub fn engine(id: &str) -> Option<Pid> {
    find(|arguments| arguments.contains(&"boot") && arguments.contains(&id))
}

/// The file server of a sandbox's machine.
pub fn gofer(site: &Site, id: &str) -> Option<Pid> {
    let bundle = site.data().join("node/engine/bundles").join(id).display().to_string();
    find(|arguments| arguments.contains(&"gofer") && arguments.iter().any(|word| word.contains(&bundle)))
}

/// The sandbox whose bring-up began last, if it is none of those that are known.
pub fn newest(site: &Site, known: &[&String]) -> Option<String> {
    let bundles = fs::read_dir(site.data().join("node/engine/bundles")).into_iter().flatten().flatten();
    let newest = bundles.max_by_key(|entry| entry.metadata().and_then(|data| data.created()).ok())?;
    newest.file_name().into_string().ok().filter(|id| !known.contains(&id))
}

fn find(such: impl Fn(&[&str]) -> bool) -> Option<Pid> {
    let mut pids = host::pids().into_iter();
    let pid = pids.find(|pid| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        such(&line.split('\0').collect::<Vec<_>>())
    })?;
    Pid::from_raw(pid)
}
