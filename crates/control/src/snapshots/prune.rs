//! Takes away the bytes of snapshots that nobody has any more.

use std::sync::Arc;
use std::time::Duration;

use wire::node::{PruneSnapshots, Pruned};

use crate::error::{Error, Result};
use crate::fleet::Fleet;

/// Between two prunings.
const INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Has every node take away what nobody needs of snapshots, and was stored at least so long ago; or say what that would
/// be.
///
/// # Errors
/// If any node does not answer, for then nobody knows.
pub async fn prune(fleet: &Fleet, age: Duration, dry_run: bool) -> Result<Pruned> {
    if fleet.nodes.all().is_empty() {
        return Err(Error::NoNode);
    }
    let mut all = Pruned::default();
    for node in fleet.nodes.all() {
        // Read for each: a snapshot that came meanwhile counts.
        let keep = fleet.store.snapshot_roots().await?;
        let order = PruneSnapshots { keep, age_seconds_min: age.as_secs(), dry_run };
        let pruned = node.client.prune_snapshots(&order).await?;
        all.bytes += pruned.bytes;
        all.items.extend(pruned.items);
    }
    Ok(all)
}

/// Prunes now and then for as long as this runs.
pub async fn prune_for_ever(fleet: Arc<Fleet>) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + INTERVAL, INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match prune(&fleet, fleet.limits.snapshot_age, false).await {
            Ok(pruned) if pruned.items.is_empty() => {}
            Ok(pruned) => {
                tracing::info!(items = pruned.items.len(), bytes = pruned.bytes, "snapshots pruned")
            }
            Err(error) => {
                let error = wire::causes::chain(&error);
                tracing::warn!(error, "snapshots are not pruned; the next time will try again");
            }
        }
    }
}
