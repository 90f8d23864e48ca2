//! Waiting for the end of a machine, and saying what it was.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use wire::id::SandboxId;

use super::Inner;
use crate::cgroup::Cgroups;
use crate::launcher::{ExitReport, Launcher};
use crate::process::{self, Process};
use crate::{Exit, Machine};

/// How much of the report of a crash of the sandbox's kernel is passed on, in characters: the beginning says what.
const PANIC_CHARS_MAX: usize = 2000;

/// What it takes to say how a machine ended.
struct Coroner {
    id: SandboxId,
    pid: i32,
    launcher: Arc<Launcher>,
    cgroups: Cgroups,
    panic_log: PathBuf,
}

impl Inner {
    /// A machine of a process that runs. From now on its end will be said.
    pub(super) fn watch(&self, id: &SandboxId, process: Process) -> Machine {
        let coroner = self.coroner(id, process.pid());
        let (sender, exit) = watch::channel(None);
        let machine = Machine::new(id.clone(), exit);
        self.machines().insert(id.clone(), machine.clone());
        tokio::spawn(async move {
            let exit = match process.ended().await {
                Ok(()) => coroner.examine().await,
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
            Some(pid) => self.coroner(id, pid).examine().await,
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
    async fn examine(&self) -> Exit {
        let report = self.launcher.exit(self.id.as_str(), self.pid).await;
        let panic = fs::read_to_string(&self.panic_log).unwrap_or_default();
        let memory_kills = self.cgroups.oom_kills(&self.id);
        Exit { out_of_memory: memory_kills > 0, evidence: describe(&report, memory_kills, &panic) }
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
