//! What every part of control works with.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use wire::clock::Clock;
use wire::id::SandboxId;

use crate::announcer::Announcer;
use crate::config::{Limits, MetricsPage};
use crate::error::{Error, Result};
use crate::ingress_page::Told;
use crate::nodes::Nodes;
use crate::pepper::Pepper;
use crate::rates::Rates;
use crate::record::{SandboxRecord, Step};
use crate::secrets::Secrets;
use crate::sockets::Sockets;
use crate::store::Store;
use crate::templates::Pulls;

/// Bytes of a MiB.
pub const MIB: u64 = 1024 * 1024;

/// One fleet: its store, its nodes, its clock.
pub struct Fleet {
    /// What should be.
    pub store: Store,
    /// Who makes it so.
    pub nodes: Nodes,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How much and how long.
    pub limits: Limits,
    /// What keys are hashed with.
    pub pepper: Pepper,
    /// What others' secrets are sealed with.
    pub secrets: Secrets,
    /// Images of templates that are on their way.
    pub pulls: Pulls,
    /// How fast teams ask.
    pub rates: Rates,
    /// What `GET /metrics` shows.
    pub metrics: MetricsPage,
    /// What stands in URLs of the ingress after a sandbox's name or a token, and a dot.
    pub ingress_authority: String,
    /// Who waits for what.
    pub announcer: Announcer,
    /// What `converge` is telling nodes right now.
    pub flights: Mutex<HashSet<(SandboxId, Step)>>,
    /// Connections that have become WebSockets.
    pub sockets: Sockets,
    /// What the ingress has counted.
    pub ingress: Told,
}

impl Fleet {
    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.wall_ms()).unwrap_or(i64::MAX)
    }

    /// The moment so long ago, in milliseconds since the Unix epoch.
    pub fn ago_ms(&self, age: Duration) -> i64 {
        self.now_ms().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    }

    /// Refuses what would only fill a disk that is about to be full.
    ///
    /// # Errors
    /// [`Error::StorageFull`].
    pub fn check_room(&self) -> Result<()> {
        let place = self.store.place();
        let reserve_mib = self.limits.disk_reserve_mib;
        match place.spare_bytes().map(|bytes| bytes / MIB) {
            Ok(free_mib) if free_mib < reserve_mib => {
                let path = place.directory().display().to_string();
                Err(Error::StorageFull { path, free_mib, reserve_mib })
            }
            // One that cannot be told is found out by writing.
            _ => Ok(()),
        }
    }

    /// Changes a record, and tells those who wait for it. `None` if there is no such sandbox.
    pub async fn change(
        &self,
        id: &SandboxId,
        change: impl FnOnce(&mut SandboxRecord, i64) -> bool,
    ) -> Result<Option<SandboxRecord>> {
        let now_ms = self.now_ms();
        let Some((record, changed)) = self.store.change(id, |record| change(record, now_ms)).await? else {
            return Ok(None);
        };
        if changed {
            tracing::info!(sandbox = %id, state = %record.observed, generation = record.generation, "changed");
            self.announce(&record);
        }
        Ok(Some(record))
    }

    /// Tells those who wait for a sandbox or its team that its record is another.
    pub fn announce(&self, record: &SandboxRecord) {
        self.announcer.announce(record.id.as_str());
        self.announcer.announce(record.team.as_str());
    }

    /// Waits until a record is as wanted, or the wait is over; the record as it is then.
    pub async fn wait_for(
        &self,
        id: &SandboxId,
        wait: Duration,
        wanted: impl Fn(&SandboxRecord) -> bool,
    ) -> Result<Option<SandboxRecord>> {
        let deadline = Instant::now() + wait;
        let mut watcher = self.announcer.watch(id.as_str());
        loop {
            let record = self.store.sandbox(id).await?;
            if record.as_ref().is_none_or(&wanted) {
                return Ok(record);
            }
            if tokio::time::timeout_at(deadline, watcher.changed()).await.is_err() {
                return Ok(record);
            }
        }
    }
}
