//! Takes away what no template and no sandbox needs any more. Control says what is needed; nodes know what they have.

use std::sync::Arc;
use std::time::Duration;

use wire::node::{PruneImages, Pruned};

use crate::error::{Error, Result};
use crate::fleet::Fleet;

/// Has every node remove what nobody needs and nobody has used for a while, or say what that would be.
///
/// # Errors
/// If any node does not answer, for then nobody knows.
pub async fn prune(fleet: &Fleet, idle: Duration, dry_run: bool) -> Result<Pruned> {
    if fleet.nodes.all().is_empty() {
        return Err(Error::NoNode);
    }
    let mut all = Pruned::default();
    for node in fleet.nodes.all() {
        // Read for each: a template that came meanwhile counts.
        let keep = fleet.store.images_in_use().await?;
        let order = PruneImages { keep, idle_seconds_min: idle.as_secs(), dry_run };
        let pruned = node.client.prune(&order).await?;
        if !dry_run {
            // The node has images no more that it had when it last reported.
            node.refresh().await?;
        }
        all.bytes += pruned.bytes;
        all.items.extend(pruned.items);
    }
    Ok(all)
}

/// Prunes now and then for as long as this runs; never, if that is how it is set.
pub async fn prune_for_ever(fleet: Arc<Fleet>) {
    let Some(interval) = fleet.limits.prune_interval else { return };
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match prune(&fleet, fleet.limits.prune_idle, false).await {
            Ok(pruned) if pruned.items.is_empty() => {}
            Ok(pruned) => tracing::info!(items = pruned.items.len(), bytes = pruned.bytes, "pruned"),
            Err(error) => {
                tracing::warn!(
                    error = wire::causes::chain(&error),
                    "not pruned; the next time will try again"
                )
            }
        }
    }
}
