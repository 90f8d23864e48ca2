//! A sandbox that stands still, and what it is, written to a directory.
//!
//! runsc stops everything inside first (`pause`) and writes it down then, which leaves it stopped: so nothing happens
//! inside after the moment that is kept, and whether it goes on here or elsewhere is decided when that is durable.

use std::path::Path;
use std::time::Duration;

use wire::id::SandboxId;

use super::Inner;
use crate::steps::StepLog;
use crate::{Error, used_bytes};

/// The steps, in order.
pub(super) const STEPS: [&str; 2] = [STOP, WRITE];
const STOP: &str = "stop";
const WRITE: &str = "write";

/// How long runsc may take to stop a sandbox or to let it go on. A loaded host needs seconds.
const ORDER_WAIT: Duration = Duration::from_secs(60);
/// How long it may take to write down what a sandbox is: gigabytes, on a slow disk.
const WRITE_WAIT: Duration = Duration::from_secs(600);

/// What runsc says of an order that it has carried out before.
const GOES_ON_ALREADY: &str = "in state running";

impl Inner {
    /// Stops a sandbox and writes what it is into an empty directory.
    pub(super) async fn checkpoint(&self, id: &SandboxId, into: &Path) -> Result<(), Error> {
        if self.process(id)?.is_none() {
            return Err(Error::Ended { evidence: self.post_mortem(id).await.evidence });
        }
        let log = StepLog::new(self.config.faults.clone());
        log.step(
            STOP,
            self.order(id, "runsc pause", self.runsc.pause_args(&self.config.records(), id), ORDER_WAIT),
        )
        .await?;
        let write = self.runsc.checkpoint_args(&self.config.records(), into, id);
        log.step(WRITE, self.order(id, "runsc checkpoint", write, WRITE_WAIT)).await?;
        // runsc writes down a sandbox that has lost its files all the same, and cannot make one of that again.
        if self.file_server(id).is_gone() {
            return Err(Error::Ended { evidence: "its file server ended while it was written down".into() });
        }
        Ok(())
    }

    /// Lets a sandbox go on that was stopped, if it was.
    pub(super) async fn resume(&self, id: &SandboxId) -> Result<(), Error> {
        let args = self.runsc.resume_args(&self.config.records(), id);
        match self.order(id, "runsc resume", args, ORDER_WAIT).await {
            Err(Error::Program { detail, .. }) if detail.contains(GOES_ON_ALREADY) => Ok(()),
            done => done,
        }
    }

    /// Has runsc do something to a sandbox that is there. By another key than the sandbox's own, whose last words stay.
    pub(super) async fn order(
        &self,
        id: &SandboxId,
        name: &'static str,
        args: Vec<String>,
        bound: Duration,
    ) -> Result<(), Error> {
        let key = order_key(id);
        let done = self.launcher.run(&key, name, &self.runsc.program, args, bound).await;
        let forgotten = self.launcher.forget(&key).await;
        done.and(forgotten.map(drop))
    }

    /// What a checkpoint may take on a disk, in bytes, at most: the memory, and what was written on top of the image.
    pub(super) fn checkpoint_bytes_max(&self, id: &SandboxId) -> u64 {
        let [memory, _] = self.cgroups.memory(id);
        memory.unwrap_or(0).saturating_add(used_bytes(&self.disks.path(id)).unwrap_or(0))
    }
}

/// Names what is ordered of a sandbox, beside the sandbox itself.
pub(super) fn order_key(id: &SandboxId) -> String {
    format!("{id}.order")
}
