//! Snapshots of sandboxes, and sandboxes made from them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use wire::id::SandboxId;
use wire::node::{NodeError, PruneSnapshots, Pruned, SandboxSpec, TakeSnapshot, TakenSnapshot};
use wire::snapshot::Root;

use super::{Supervisor, bounded, ending, not_found};
use crate::sandbox::handle::Command;
use crate::vault::check;

/// A snapshot may take so long: gigabytes are written, and stored.
const SNAPSHOT_BOUND: Duration = Duration::from_secs(660);

impl Supervisor {
    /// Takes a snapshot of a sandbox that runs, and returns when that is durable. The sandbox runs on before that, or has
    /// ended with it.
    ///
    /// # Errors
    /// [`wire::node::NodeErrorCode::NotFound`], [`wire::node::NodeErrorCode::WrongState`] when it does not run,
    /// [`wire::node::NodeErrorCode::StorageFull`] and others when it cannot be kept: then it runs on, or has died of it.
    pub async fn snapshot(&self, id: &SandboxId, order: TakeSnapshot) -> Result<TakenSnapshot, NodeError> {
        self.attend(id).await;
        let handle = self.get(id).ok_or_else(|| not_found(id))?;
        let (answer, answered) = oneshot::channel();
        handle.send(Command::Snapshot(order, answer)).await;
        let answered = bounded(SNAPSHOT_BOUND, answered).await?;
        answered.unwrap_or_else(|_| Err(ending(&handle.observed())))
    }

    /// Takes a snapshot away; one that is gone is good. Sandboxes that went on from it do not need it.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn remove_snapshot(&self, root: Root) -> Result<(), NodeError> {
        self.node.vault.remove(root).await
    }

    /// Takes away what neither control nor a sandbox of this node needs of snapshots, or says what that would be.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn prune_snapshots(self: &Arc<Self>, mut order: PruneSnapshots) -> Result<Pruned, NodeError> {
        let own = self.node.records.load().unwrap_or_default();
        order.keep.extend(own.iter().filter_map(|record| record.kept));
        self.node.vault.prune(order).await
    }

    /// Whether a sandbox can be made of what it is to go on from, as far as can be told before anything is.
    pub(super) async fn check_origin(&self, spec: &SandboxSpec) -> Result<(), NodeError> {
        let Some(origin) = &spec.from else { return Ok(()) };
        let facts = self.node.vault.facts(origin.snapshot).await?;
        check(&facts, &self.node, &spec.image)
    }
}
