//! Snapshots of sandboxes, and sandboxes that go on from them.
//!
//! A snapshot is recorded before it is taken, and again when it is durable. What is between the two when this process
//! ends is forgotten (nobody was told of it) and what a node stored of it goes with the next pruning; but for one that a
//! sandbox ends with: its node says what the sandbox left ([`inherit`]), so that it is never gone without either.

mod fork;
mod prune;
pub mod record;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use wire::id::{SandboxId, SnapshotId, TeamId};
use wire::node::{NodeErrorCode, Observed, TakeSnapshot, TakenSnapshot};
use wire::public::snapshot::{Snapshot, SnapshotList};
use wire::sandbox::State;

pub use fork::{Order as ForkOrder, fork};
pub use prune::{prune, prune_for_ever};

use self::record::SnapshotRecord;
use crate::entropy;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::nodes::{Node, NodeFailure};
use crate::pauses;
use crate::record::SandboxRecord;
use crate::sandboxes::{self, Made, Plan, owned};
use crate::store::{CreateKey, SnapshotPage};

/// A node that is busy with a sandbox is asked again after so long.
const BUSY_WAIT: Duration = Duration::from_millis(50);

/// A snapshot somebody wants.
#[derive(Debug, Clone)]
pub struct Order {
    /// What they call it; absent, as it is called anyway.
    pub name: Option<String>,
    /// Whether the sandbox ends with it.
    pub ends: bool,
}

/// A sandbox somebody wants of a snapshot.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The snapshot's name.
    pub name: String,
    /// Life, in seconds.
    pub timeout_seconds: u32,
    /// Whether it is paused, and does not end, when its time is up.
    pub auto_pause: bool,
    /// What it may reach; absent, as the snapshot says.
    pub network_policy: Option<Value>,
}

/// Takes a snapshot of a sandbox, which is woken for it if it is paused; returns when it is durable.
pub async fn take(fleet: &Arc<Fleet>, team: &TeamId, id: &SandboxId, order: Order) -> Result<Snapshot> {
    let node = pauses::ready(fleet, team, id).await?;
    let sandbox = owned(fleet, team, id).await?;
    let own_id = SnapshotId::from_entropy(entropy::bytes()?);
    let record = SnapshotRecord::of(&sandbox, own_id, order.name, order.ends, fleet.now_ms());
    fleet.store.begin_snapshot(&record).await?;
    match ask(fleet, team, id, node, TakeSnapshot { ends: order.ends }).await {
        Ok(taken) => {
            let finished = fleet.store.finish_snapshot(&record.id, taken.root, taken.bytes).await?;
            finished.map(SnapshotRecord::present).ok_or_else(|| unknown(record.id.as_str()))
        }
        Err(failure) => {
            let is_refused = matches!(failure, NodeFailure::Refused(_));
            // Where the node's word did not arrive, what the sandbox leaves is waited for.
            if is_refused || !order.ends {
                fleet.store.remove_snapshot(&record.id).await?;
            }
            Err(why_not(fleet, id, failure).await)
        }
    }
}

/// Asks its node for a snapshot: again, while that is busy with another, or with a pause, from which it is woken.
async fn ask(
    fleet: &Arc<Fleet>,
    team: &TeamId,
    id: &SandboxId,
    mut node: Arc<Node>,
    order: TakeSnapshot,
) -> std::result::Result<TakenSnapshot, NodeFailure> {
    let deadline = Instant::now() + fleet.limits.ready_wait;
    loop {
        let refused = match node.client.snapshot(id, &order).await {
            Err(NodeFailure::Refused(refusal))
                if refusal.code == NodeErrorCode::WrongState && Instant::now() < deadline =>
            {
                refusal
            }
            answered => return answered,
        };
        tokio::time::sleep(BUSY_WAIT).await;
        node = match pauses::ready(fleet, team, id).await {
            Ok(node) => node,
            Err(_) => return Err(NodeFailure::Refused(refused)),
        };
    }
}

/// Makes a sandbox that goes on from a snapshot; returns when it runs. With a key, at most once.
pub async fn restore(
    fleet: &Arc<Fleet>,
    team: &TeamId,
    order: Restore,
    key: Option<CreateKey>,
) -> Result<Made> {
    let plan = async {
        let found = fleet.store.snapshot_by_name(team, &order.name).await?;
        let record = found.ok_or_else(|| unknown(&order.name))?;
        let root = record.root.ok_or_else(|| unknown(&order.name))?;
        let mut plan = Plan::from_snapshot(record, root, false);
        plan.spec.timeout_seconds = order.timeout_seconds;
        plan.spec.auto_pause = order.auto_pause;
        plan.network_policy = order.network_policy.or(plan.network_policy);
        Ok(plan)
    };
    sandboxes::make(fleet, team, plan, key).await
}

/// A page of the team's snapshots.
pub async fn list(fleet: &Fleet, team: &TeamId, page: &SnapshotPage) -> Result<SnapshotList> {
    let (records, total_items) = fleet.store.snapshots(team, page).await?;
    Ok(SnapshotList { items: records.into_iter().map(SnapshotRecord::present).collect(), total_items })
}

/// One snapshot.
pub async fn get(fleet: &Fleet, team: &TeamId, id: &SnapshotId) -> Result<Snapshot> {
    known(fleet, team, id).await.map(SnapshotRecord::present)
}

/// Takes a snapshot away. Sandboxes that went on from it are as they were.
pub async fn delete(fleet: &Fleet, team: &TeamId, id: &SnapshotId) -> Result<()> {
    let record = known(fleet, team, id).await?;
    fleet.store.remove_snapshot(id).await?;
    let (Some(node), Some(root)) = (fleet.nodes.get(&record.node).await, record.root) else { return Ok(()) };
    if let Err(error) = node.client.remove_snapshot(&root).await {
        let error = wire::causes::chain(&error);
        tracing::warn!(snapshot = %id, error, "its bytes stay until the next pruning");
    }
    Ok(())
}

/// A sandbox is gone: what it left is its team's from now on.
pub async fn inherit(fleet: &Fleet, sandbox: &SandboxRecord, seen: &Observed) -> Result<()> {
    if seen.state != State::Deleted {
        return Ok(());
    }
    if seen.leaves.is_none() && !fleet.store.awaits_snapshot(&sandbox.id).await? {
        return Ok(());
    }
    let id = SnapshotId::from_entropy(entropy::bytes()?);
    let mut heir = SnapshotRecord::of(sandbox, id, Some(sandbox.id.to_string()), true, fleet.now_ms());
    heir.root = seen.leaves;
    fleet.store.inherit_snapshot(&heir).await
}

/// Why there is no snapshot of it: it has ended, or it is as its node says.
async fn why_not(fleet: &Fleet, id: &SandboxId, failure: NodeFailure) -> Error {
    match sandboxes::leaving(fleet, id).await {
        Ok(Some(ended)) => ended,
        _ => failure.into(),
    }
}

/// One that has been taken, and is this team's.
async fn known(fleet: &Fleet, team: &TeamId, id: &SnapshotId) -> Result<SnapshotRecord> {
    let record = fleet.store.snapshot(id).await?;
    let known = record.filter(|record| record.team == *team && record.root.is_some());
    known.ok_or_else(|| unknown(id.as_str()))
}

fn unknown(name: &str) -> Error {
    Error::not_found("snapshot", name)
}
