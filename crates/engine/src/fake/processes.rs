//! The processes of machines: which they are, and their end.
//!
//! A process belongs to a machine if its command line is that of the
//! machine's agent, if it descends from one that belongs, or if it works in
//! the machine's directory without a terminal (an orphan of an agent that
//! crashed; whoever looks around there in a shell has a terminal).

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::agent::LISTEN_PREFIX;
use super::layout::{Layout, Place};
use crate::Error;
use crate::process::{self, Process};

/// Between two looks at whether all processes of a machine have stopped.
const STOP_POLL: Duration = Duration::from_millis(1);

/// A process, as `/proc/<pid>/stat` shows it (`proc_pid_stat(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) pid: i32,
    parent: i32,
    state: char,
    has_terminal: bool,
    /// With the number this names one process for ever, until the host restarts.
    pub(super) started_ticks: u64,
}

impl Seen {
    /// The process of this number, if there is one.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(pid: i32, stat: &str) -> Option<Self> {
        // The name before this may hold anything, parentheses too.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(Self {
            pid,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            has_terminal: *fields.get(4)? != "0",
            started_ticks: fields.get(19)?.parse().ok()?,
        })
    }

    /// False for one that has ended and was not reaped yet.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

    /// A descriptor for it, unless it has ended: then its number may be another's.
    pub(super) fn open(&self) -> Result<Option<Process>, Error> {
        let opened = Process::open(self.pid).map_err(Error::io(format!("opening process {}", self.pid)))?;
        let same = |now: Seen| now.started_ticks == self.started_ticks;
        Ok(opened.filter(|_| Self::of(self.pid).is_some_and(same)))
    }

    fn is_stopped(&self) -> bool {
        self.state == 'T'
    }

    /// Told to stop, it does so before it does anything else. One that has just started another by vfork(2) waits there
    /// for as long as that one is stopped.
    fn waits_in_the_kernel(&self) -> bool {
        self.state == 'D'
    }

    /// Stops it, so that it starts no others.
    pub(super) fn stop(&self) -> Result<(), Error> {
        self.send(Signal::STOP, "stopping")
    }

    fn send(&self, signal: Signal, doing: &str) -> Result<(), Error> {
        // Held open, so that its number cannot become another's meanwhile unless it was reaped already.
        let Some(_held) = self.open()? else { return Ok(()) };
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        match rustix::process::kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(Error::io(format!("{doing} process {}", self.pid))(error.into())),
        }
    }

    /// For people.
    pub(super) fn present(&self) -> serde_json::Value {
        let arguments = process::arguments(self.pid).join(" ");
        serde_json::json!({ "pid": self.pid, "state": self.state.to_string(), "arguments": arguments.trim_end() })
    }
}

/// The living processes of all machines, with the names of their directories.
pub(super) async fn below(layout: &Layout) -> Result<Vec<(String, Seen)>, Error> {
    let dir = layout.dir().to_owned();
    let list = move || list_below(&dir).map_err(Error::io("listing processes"));
    tokio::task::spawn_blocking(list).await.unwrap_or_else(|panic| {
        Err(Error::Io { what: "listing processes".into(), source: std::io::Error::other(panic) })
    })
}

/// The living processes of one machine.
pub(super) async fn of(place: &Place) -> Result<Vec<Seen>, Error> {
    let Some((above, name)) = place.dir().parent().zip(place.dir().file_name()) else {
        return Ok(Vec::new());
    };
    let (above, name) = (above.to_owned(), name.to_owned());
    let list = move || list_below(&above).map_err(Error::io("listing processes"));
    let listed = tokio::task::spawn_blocking(list).await.unwrap_or_else(|panic| {
        Err(Error::Io { what: "listing processes".into(), source: std::io::Error::other(panic) })
    })?;
    Ok(listed.into_iter().filter(|(owner, _)| **owner == *name).map(|(_, seen)| seen).collect())
}

/// Ends all processes of a machine, the agent last: stopped before, it inherits every orphan, so that none gets away.
pub(super) async fn end(place: &Place, bound: Duration) -> Result<(), Error> {
    let ending = async {
        loop {
            let living = of(place).await?;
            if living.is_empty() {
                return Ok(());
            }
            let (agents, others): (Vec<Seen>, Vec<Seen>) =
                living.iter().partition(|seen| super::agent::is_agent_of(place, seen));
            agents.iter().try_for_each(Seen::stop)?;
            end_each(if others.is_empty() { &agents } else { &others }).await?;
        }
    };
    let what = "the end of a machine's processes";
    tokio::time::timeout(bound, ending).await.unwrap_or(Err(Error::Timeout { what, bound }))
}

/// Stops all processes of a machine, those too that are started meanwhile.
pub(super) async fn stop(place: &Place, bound: Duration) -> Result<(), Error> {
    let stopping = async {
        loop {
            let mut moving = of(place).await?;
            moving.retain(|seen| !seen.is_stopped());
            if moving.is_empty() {
                return Ok(());
            }
            moving.iter().try_for_each(Seen::stop)?;
            if moving.iter().all(Seen::waits_in_the_kernel) {
                return Ok(());
            }
            tokio::time::sleep(STOP_POLL).await;
        }
    };
    let what = "the stop of a machine's processes";
    tokio::time::timeout(bound, stopping).await.unwrap_or(Err(Error::Timeout { what, bound }))
}

/// Lets all processes of a machine go on, the agent last: it sees nobody stopped.
pub(super) async fn go_on(place: &Place) -> Result<(), Error> {
    let all = of(place).await?;
    let (agents, others): (Vec<Seen>, Vec<Seen>) =
        all.iter().partition(|seen| super::agent::is_agent_of(place, seen));
    others.iter().chain(&agents).try_for_each(|seen| seen.send(Signal::CONT, "continuing"))
}

async fn end_each(these: &[Seen]) -> Result<(), Error> {
    let mut killed = Vec::new();
    for seen in these {
        if let Some(process) = seen.open()? {
            process.kill().map_err(Error::io(format!("killing process {}", seen.pid)))?;
            killed.push(process);
        }
    }
    for process in killed {
        let pid = process.pid();
        process.ended().await.map_err(Error::io(format!("waiting for process {pid}")))?;
    }
    Ok(())
}

fn list_below(dir: &Path) -> std::io::Result<Vec<(String, Seen)>> {
    let own = std::process::id() as i32;
    let all: HashMap<i32, Seen> =
        process::all()?.into_iter().filter_map(|pid| Some((pid, Seen::of(pid)?))).collect();
    let marked: HashMap<i32, String> = all
        .values()
        .filter(|seen| seen.is_alive() && seen.pid != own)
        .filter_map(|seen| Some((seen.pid, mark(dir, seen)?)))
        .collect();
    let mut found = Vec::new();
    for seen in all.values().filter(|seen| seen.is_alive()) {
        if let Some(name) = ancestry(&all, seen).find_map(|pid| marked.get(&pid)) {
            found.push((name.clone(), *seen));
        }
    }
    Ok(found)
}

/// The directory below `dir` that the process itself points to.
fn mark(dir: &Path, seen: &Seen) -> Option<String> {
    let arguments = process::arguments(seen.pid);
    let socket = arguments.get(2).and_then(|argument| argument.strip_prefix(LISTEN_PREFIX));
    let from_arguments =
        socket.filter(|_| arguments[1] == "--listen").and_then(|path| first_below(dir, path.as_ref()));
    from_arguments.or_else(|| {
        let cwd = std::fs::read_link(format!("/proc/{}/cwd", seen.pid)).ok()?;
        first_below(dir, &cwd).filter(|_| !seen.has_terminal)
    })
}

fn first_below(dir: &Path, path: &Path) -> Option<String> {
    let first = path.strip_prefix(dir).ok()?.components().next()?;
    first.as_os_str().to_str().map(str::to_owned)
}

/// A process, its parent, and so on.
fn ancestry<'a>(all: &'a HashMap<i32, Seen>, seen: &'a Seen) -> impl Iterator<Item = i32> + 'a {
    // The list is no snapshot, so a reused number could make a ring of it.
    std::iter::successors(Some(seen), |seen| all.get(&seen.parent)).take(all.len()).map(|seen| seen.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_the_fields() {
        let stat = "77 (a) R 1 (b) S 12 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0";
        let seen = Seen::parse(77, stat).unwrap();
        assert_eq!((seen.state, seen.parent, seen.has_terminal, seen.started_ticks), ('S', 12, false, 4711));
        assert_eq!(Seen::parse(77, "77 (cut) S 12"), None);
    }

    #[test]
    fn a_reused_number_is_not_the_same_process() {
        let own = Seen::of(std::process::id() as i32).unwrap();
        assert!(own.open().unwrap().is_some());
        let other = Seen { started_ticks: own.started_ticks - 1, ..own };
        assert!(other.open().unwrap().is_none());
    }
}
