//! Copies of a sandbox that goes on.

use std::sync::Arc;

use futures_util::future::join_all;
use wire::id::{SandboxId, SnapshotId, TeamId};
use wire::node::TakeSnapshot;
use wire::public::sandbox::Sandbox;

use super::record::SnapshotRecord;
use super::why_not;
use crate::entropy;
use crate::error::Result;
use crate::fleet::Fleet;
use crate::pauses;
use crate::sandboxes::{self, Plan, owned};

/// What copies are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// How many.
    pub count: u32,
    /// Their life, in seconds; absent, the sandbox's own.
    pub timeout_seconds: Option<u32>,
    /// Whether they are paused, and do not end, when their time is up; absent, as the sandbox's own.
    pub auto_pause: Option<bool>,
}

/// Makes copies of a sandbox, which goes on; returns when all of them run. If one cannot be made, none is.
pub async fn fork(fleet: &Arc<Fleet>, team: &TeamId, id: &SandboxId, order: Order) -> Result<Vec<Sandbox>> {
    let node = pauses::ready(fleet, team, id).await?;
    let sandbox = owned(fleet, team, id).await?;
    fleet.check_room()?;
    // Of no name: nobody but its copies goes on from it. One that this process forgets goes with the next pruning.
    let taken = match node.client.snapshot(id, &TakeSnapshot { ends: false }).await {
        Ok(taken) => taken,
        Err(failure) => return Err(why_not(fleet, id, failure).await),
    };
    let own_id = SnapshotId::from_entropy(entropy::bytes()?);
    let record = SnapshotRecord::of(&sandbox, own_id, None, false, fleet.now_ms());
    let mut plan = Plan::from_snapshot(record, taken.root, true);
    plan.spec.timeout_seconds = order.timeout_seconds.unwrap_or(plan.spec.timeout_seconds);
    plan.spec.auto_pause = order.auto_pause.unwrap_or(plan.spec.auto_pause);
    let copies = (0..order.count).map(|_| {
        let plan = plan.clone();
        sandboxes::make(fleet, team, async { Ok(plan) }, None)
    });
    let made = join_all(copies).await;
    if let Err(error) = node.client.remove_snapshot(&taken.root).await {
        let error = wire::causes::chain(&error);
        tracing::warn!(sandbox = %id, error, "what its copies went on from stays until the next pruning");
    }
    all_or_none(fleet, team, made).await
}

async fn all_or_none(
    fleet: &Arc<Fleet>,
    team: &TeamId,
    made: Vec<Result<sandboxes::Made>>,
) -> Result<Vec<Sandbox>> {
    let (mut copies, mut refusal) = (Vec::new(), None);
    for made in made {
        match made {
            Ok(made) => copies.push(made.sandbox),
            Err(error) => refusal = Some(error),
        }
    }
    let Some(refusal) = refusal else { return Ok(copies) };
    let deletes = copies.iter().map(|copy| sandboxes::delete(fleet, team, &copy.id));
    for error in join_all(deletes).await.into_iter().filter_map(Result::err) {
        tracing::warn!(error = wire::causes::chain(&error), "a copy that is one too many stays");
    }
    Err(refusal)
}
