//! Waiting for the end of a machine, and saying what it was.

use std::fs;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wire::id::SandboxId;

use super::Inner;
use crate::cgroup::Cgroups;
use crate::launcher::{ExitReport, Launcher};
use crate::process::{self, Process};
use crate::{Exit, Machine};

/// How much of the report of a crash of the sandbox's kernel is passed on, in characters: the beginning says what.
const PANIC_CHARS_MAX: usize = 2000;
/// So soon after its file server, a machine has ended first.
const FOLLOW_WAIT: Duration = Duration::from_millis(100);

/// What it takes to say how a machine ended.
struct Coroner {
    id: SandboxId,
    pid: i32,
    launcher: Arc<Launcher>,
    cgroups: Cgroups,
    panic_log: PathBuf,
}

/// The process that serves a machine the files of its image: runsc calls it gofer.
pub(super) enum FileServer {
    Runs(Process),
    Gone,
    /// runsc's record does not tell.
    Unknown,
}

impl FileServer {
    /// The one whose number is in runsc's record of a sandbox.
    fn of(id: &SandboxId, record: &[u8]) -> Self {
        let record: Option<serde_json::Value> = serde_json::from_slice(record).ok();
        let pid = record.and_then(|record| i32::try_from(record.get("goferPid")?.as_i64()?).ok());
        let Some(pid) = pid.filter(|pid| *pid > 0) else { return Self::Unknown };
        match Process::open(pid) {
            // Its number may have gone to somebody else.
            Ok(Some(process)) if is_for(pid, id) => Self::Runs(process),
            Ok(_) => Self::Gone,
            Err(_) => Self::Unknown,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }

    async fn ended(self) -> io::Result<()> {
        match self {
            Self::Runs(process) => process.ended().await,
            Self::Gone => Ok(()),
            Self::Unknown => pending().await,
        }
    }
}

fn is_for(pid: i32, id: &SandboxId) -> bool {
    process::arguments(pid).iter().any(|argument| argument.contains(id.as_str()))
}

impl Inner {
    pub(super) fn file_server(&self, id: &SandboxId) -> FileServer {
        let is_state = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(id.as_str()) && name.ends_with(".state")
        };
        let records = self.records().unwrap_or_default();
        let record = records.iter().find(is_state).and_then(|path| fs::read(path).ok());
        record.map_or(FileServer::Unknown, |record| FileServer::of(id, &record))
    }

    /// A machine of a process that runs. From now on its end will be said.
    pub(super) fn watch(&self, id: &SandboxId, process: Process) -> Machine {
        let coroner = self.coroner(id, process.pid());
        let (sender, exit) = watch::channel(None);
        let machine = Machine::new(id.clone(), exit);
        self.machines().insert(id.clone(), machine.clone());
        let server = self.file_server(id);
        tokio::spawn(async move {
            let exit = match coroner.wait(process, server).await {
                Ok(cause) => coroner.examine(cause).await,
                Err(error) => {
                    Exit { out_of_memory: false, evidence: format!("its process cannot be watched: {error}") }
                }
            };
            tracing::debug!(id = %coroner.id, ?exit, "a machine ended");
            sender.send_replace(Some(exit));
        });
        machine
    }

    /// How the recorded process of a sandbox ended.
    pub(super) async fn post_mortem(&self, id: &SandboxId) -> Exit {
        match self.recorded_pid(id) {
            Some(pid) => self.coroner(id, pid).examine("").await,
            None => Exit { out_of_memory: false, evidence: "runsc left no process number".into() },
        }
    }

    /// What can be seen of a machine that runs and does not answer.
    pub(super) async fn condition(&self, id: &SandboxId) -> String {
        let Some(pid) = self.recorded_pid(id) else { return String::new() };
        let state = process::state(pid).unwrap_or_else(|| "gone".into());
        let mut text = format!("its process {pid} is {state}");
        push_memory_kills(&mut text, self.cgroups.oom_kills(id));
        let said = self.launcher.exit(id.as_str(), pid).await.output;
        if !said.is_empty() {
            text.push_str(&format!("; the last it wrote: {said}"));
        }
        text
    }

    fn coroner(&self, id: &SandboxId, pid: i32) -> Coroner {
        Coroner {
            id: id.clone(),
            pid,
            launcher: self.launcher.clone(),
            cgroups: self.cgroups.clone(),
            panic_log: self.config.bundle(id).join("panic.log"),
        }
    }
}

impl Coroner {
    /// Waits until the machine has ended, and says what it died of if that was not its own process. Without its file
    /// server it would hang at the next file that it opens: then it is killed.
    async fn wait(&self, process: Process, server: FileServer) -> io::Result<&'static str> {
        let mut ended = pin!(process.ended());
        tokio::select! {
            biased;
            ended = &mut ended => return ended.map(|()| ""),
            gone = server.ended() => gone?,
        }
        // Where both end, the server is the one that follows.
        if let Ok(ended) = tokio::time::timeout(FOLLOW_WAIT, &mut ended).await {
            return ended.map(|()| "");
        }
        if let Err(error) = self.cgroups.kill(&self.id).await {
            tracing::error!(id = %self.id, %error, "a machine without its file server cannot be killed");
        }
        ended.await.map(|()| "its file server ended; ")
    }

    async fn examine(&self, cause: &str) -> Exit {
        let report = self.launcher.exit(self.id.as_str(), self.pid).await;
        let panic = fs::read_to_string(&self.panic_log).unwrap_or_default();
        let memory_kills = self.cgroups.oom_kills(&self.id);
        let evidence = format!("{cause}{}", describe(&report, memory_kills, &panic));
        Exit { out_of_memory: memory_kills > 0, evidence }
    }
}

fn describe(report: &ExitReport, memory_kills: u64, panic: &str) -> String {
    let mut text = match report.status {
        Some(status) => format!("the sandbox's process ended with {status}"),
        None => "the sandbox's process ended; the launcher that could say how did too".to_owned(),
    };
    push_memory_kills(&mut text, memory_kills);
    if !report.output.is_empty() {
        text.push_str(&format!("; the last it wrote: {}", report.output));
    }
    if !panic.is_empty() {
        let beginning: String = panic.chars().take(PANIC_CHARS_MAX).collect();
        text.push_str(&format!("; its kernel crashed: {}", beginning.trim_end()));
    }
    text
}

fn push_memory_kills(text: &mut String, memory_kills: u64) {
    if memory_kills > 0 {
        text.push_str(&format!("; the host killed for its memory limit, {memory_kills} times"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launcher::Status;

    #[test]
    fn evidence_says_what_is_known_and_no_more() {
        let check = |status, output: &str, panic: &str, expect| {
            assert_eq!(describe(&ExitReport { status, output: output.into() }, 0, panic), expect);
        };
        check(Some(Status::Signal(9)), "", "", "the sandbox's process ended with signal 9");
        let killed = ExitReport { status: Some(Status::Signal(9)), output: String::new() };
        assert!(
            describe(&killed, 2, "").ends_with("signal 9; the host killed for its memory limit, 2 times")
        );
        check(
            Some(Status::Code(1)),
            "agent: cannot listen",
            "",
            "the sandbox's process ended with exit status 1; the last it wrote: agent: cannot listen",
        );
        check(None, "", "", "the sandbox's process ended; the launcher that could say how did too");
        check(
            Some(Status::Code(2)),
            "",
            "panic: x\n",
            "the sandbox's process ended with exit status 2; its kernel crashed: panic: x",
        );
    }
}
