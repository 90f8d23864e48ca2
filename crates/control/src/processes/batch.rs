//! Several commands in one request.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};
use wire::id::{SandboxId, TeamId};
use wire::public::error::ErrorBody;
use wire::public::process::{BATCH_PARALLEL_MAX, Ran};

use super::{Order, ran};
use crate::error::Result;
use crate::fleet::Fleet;
use crate::pauses::ready;

/// Commands to run.
pub struct Batch {
    /// In this order.
    pub orders: Vec<Order>,
    /// At the same time, or one after the other.
    pub parallel: bool,
    /// Whether none is begun once one has not ended with 0.
    pub stop_on_error: bool,
}

/// Runs them; what came of each, in the order they were given.
pub async fn batch(fleet: &Fleet, team: &TeamId, id: &SandboxId, batch: &Batch) -> Result<Vec<Ran>> {
    // A sandbox that is not there fails the request, and not each command.
    ready(fleet, team, id).await?;
    let at_once = if batch.parallel { BATCH_PARALLEL_MAX } else { 1 };
    let stopped = AtomicBool::new(false);
    let mut runs = Vec::with_capacity(batch.orders.len());
    for order in &batch.orders {
        runs.push(async {
            if stopped.load(Ordering::Relaxed) {
                return not_run();
            }
            let ran = ran(fleet, team, id, order).await;
            if batch.stop_on_error && !is_success(&ran) {
                stopped.store(true, Ordering::Relaxed);
            }
            ran
        });
    }
    Ok(stream::iter(runs).buffered(at_once).collect().await)
}

fn is_success(ran: &Ran) -> bool {
    matches!(ran, Ran::Executed(executed) if executed.exit_code == 0)
}

fn not_run() -> Ran {
    let message = "a command before this one failed, and `stop_on_error` was asked for".to_owned();
    Ran::Failed { error: ErrorBody { message, code: "not_run".into(), errors: Vec::new() } }
}
