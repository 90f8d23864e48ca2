//! A machine that runs: its agent's process, watched until it ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus};
use tokio::sync::watch;
use wire::id::SandboxId;

use super::END_BOUND;
use super::layout::Place;
use super::processes::{self, Seen};
use crate::process::Process;
use crate::{Error, Exit, Machine};

/// See the module.
#[derive(Debug)]
pub(super) struct Running {
    machine: Machine,
    agent: Seen,
    exit: watch::Sender<Option<Exit>>,
    end: Mutex<End>,
}

/// What is known of the end, and what a test wants it to be.
#[derive(Debug, Default)]
struct End {
    evidence: Option<String>,
    out_of_memory: bool,
    /// A test pretends that the machine runs on without its agent.
    withheld: bool,
}

impl Running {
    /// The machine of this agent, and the future that waits for its end.
    pub(super) fn watched(
        id: SandboxId,
        place: Place,
        agent: Seen,
    ) -> Result<(Arc<Self>, impl Future<Output = ()> + Send + 'static), Error> {
        let process =
            Process::open(agent.pid).map_err(Error::io(format!("opening process {}", agent.pid)))?;
        let (exit, seen) = watch::channel(None);
        let machine = Machine::new(id, seen);
        let running = Arc::new(Self { machine, agent, exit, end: Mutex::default() });
        Ok((running.clone(), watch_over(running, place, process)))
    }

    pub(super) fn machine(&self) -> Machine {
        self.machine.clone()
    }

    pub(super) fn pid(&self) -> i32 {
        self.agent.pid
    }

    /// Names its agent's process for ever.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.agent.pid, self.agent.started_ticks)
    }

    /// True once its end is known to everybody.
    pub(super) fn has_ended(&self) -> bool {
        self.exit.borrow().is_some()
    }

    pub(super) fn stop(&self) -> Result<(), Error> {
        self.agent.stop()
    }

    pub(super) fn run_out_of_memory(&self) {
        self.end().out_of_memory = true;
    }

    /// From now on the end of the agent is not the end of the machine.
    pub(super) fn withhold(&self) {
        self.end().withheld = true;
    }

    /// The end of the agent is the end of the machine, also if it was before.
    pub(super) fn release(&self) {
        self.end().withheld = false;
        self.settle();
    }

    /// Waits until the end is known to everybody.
    pub(super) async fn ended_within(&self, bound: Duration) -> Result<(), Error> {
        let ended = tokio::time::timeout(bound, self.machine.exited()).await;
        ended.map(|_| ()).map_err(|_| Error::Timeout { what: "the end of a machine", bound })
    }

    fn ended(&self, evidence: String) {
        self.end().evidence = Some(evidence);
        self.settle();
    }

    fn settle(&self) {
        let end = self.end();
        if let Some(evidence) = end.evidence.clone().filter(|_| !end.withheld) {
            let exit = Exit { out_of_memory: end.out_of_memory, evidence };
            self.exit.send_if_modified(|said| said.is_none() && said.replace(exit).is_none());
        }
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the agent's end, reaps it if it is our child, and ends what ran under it, as the end of a first process does.
async fn watch_over(running: Arc<Running>, place: Place, process: Option<Process>) {
    if let Some(process) = process
        && let Err(error) = process.ended().await
    {
        tracing::error!(sandbox = %running.machine.id, %error, "an agent's end cannot be waited for");
    }
    let status = reap(running.agent.pid);
    if let Err(error) = processes::end(&place, END_BOUND).await {
        tracing::warn!(sandbox = %running.machine.id, %error, "processes outlive their agent");
    }
    let log = place.log_tail();
    running.ended(if log.is_empty() { status } else { format!("{status}; its last words: {log}") });
}

/// How the process ended, as far as the kernel tells us.
fn reap(pid: i32) -> String {
    let status = Pid::from_raw(pid).and_then(|pid| {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        rustix::process::waitid(WaitId::Pid(pid), options).ok().flatten()
    });
    match status {
        Some(status) => describe(&status),
        None => "the agent's process ended; an earlier process of ours was its parent".into(),
    }
}

fn describe(status: &WaitIdStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("the agent's process exited with status {code}"),
        (None, Some(signal)) => format!("the agent's process was ended by signal {signal}"),
        (None, None) => "the agent's process ended".into(),
    }
}
