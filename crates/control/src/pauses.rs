//! Sandboxes that are paused, and wake when they are needed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wire::id::{SandboxId, TeamId};
use wire::node::Capacity;
use wire::public::sandbox::Sandbox;
use wire::sandbox::State;

use crate::converge;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::nodes::Node;
use crate::quota;
use crate::record::{Desired, SandboxRecord, Step};
use crate::sandboxes::{ended, owned, present, unknown};
use crate::store::TeamRecord;

/// A sandbox that is on its way somewhere is looked at so often, should nobody tell where it has got to.
const LOOK: Duration = Duration::from_secs(1);

/// Pauses a sandbox; returns when what it is, is durable, and its compute is gone.
pub async fn pause(fleet: &Fleet, team: &TeamId, id: &SandboxId) -> Result<Sandbox> {
    let record = settled(fleet, team, id, fleet.limits.ready_wait).await?;
    match record.observed {
        State::Paused => return Ok(present(record)),
        State::Running => {}
        _ => return Err(not_there(fleet, &record)),
    }
    fleet.change(id, SandboxRecord::want_paused).await?;
    converge::tell_pause(fleet, id).await?;
    let record = settled(fleet, team, id, fleet.limits.pause_wait).await?;
    match record.observed {
        // Or somebody has needed it already.
        State::Paused | State::Running => Ok(present(record)),
        _ => Err(not_there(fleet, &record)),
    }
}

/// The node of a sandbox that serves requests. One that is about to is waited for, a while, and one that is paused is
/// woken.
pub async fn ready(fleet: &Fleet, team: &TeamId, id: &SandboxId) -> Result<Arc<Node>> {
    let deadline = Instant::now() + fleet.limits.ready_wait;
    loop {
        let record = owned(fleet, team, id).await?;
        match record.observed {
            State::Running if record.is_settled() => {
                return fleet.nodes.get(&record.node).await.ok_or(Error::NoNode);
            }
            _ if Instant::now() >= deadline => return Err(not_there(fleet, &record)),
            State::Deleting | State::Deleted => return Err(ended(&record)),
            State::Paused | State::Unpausing => {
                tokio::time::timeout_at(deadline, wake(fleet, id)).await.unwrap_or(Ok(()))?;
            }
            // Whether it is paused then or not: it is told apart when that is known.
            _ if record.next_step() == Some(Step::Pause) => {
                let _ = tokio::time::timeout_at(deadline, converge::tell_pause(fleet, id)).await;
            }
            _ => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        settled(fleet, team, id, left.min(LOOK)).await?;
    }
}

/// The node of a sandbox that serves requests, or none if it is paused. One that is on its way is waited for, a while.
pub async fn ready_or_paused(fleet: &Fleet, team: &TeamId, id: &SandboxId) -> Result<Option<Arc<Node>>> {
    let record = settled(fleet, team, id, fleet.limits.ready_wait).await?;
    match record.observed {
        State::Paused => Ok(None),
        State::Running if record.is_settled() => {
            fleet.nodes.get(&record.node).await.ok_or(Error::NoNode).map(Some)
        }
        _ => Err(not_there(fleet, &record)),
    }
}

/// Wakes a sandbox, if it is paused and its team may have one more that runs. However many ask, it wakes once.
pub async fn wake(fleet: &Fleet, id: &SandboxId) -> Result<()> {
    let now_ms = fleet.now_ms();
    let may_run = |record: &SandboxRecord, team: &TeamRecord| {
        let limits = quota::effective(&fleet.limits.team, &team.own);
        let admitted = quota::admit(&limits, &team.used, &demand(record));
        admitted.map_err(|refusal| Error::StaysPaused(Box::new(refusal)))
    };
    let woken = fleet.store.change_if(id, may_run, |record| record.want_awake(now_ms)).await?;
    if let Some(record) = woken {
        fleet.announce(&record);
    }
    converge::tell_wake(fleet, id).await
}

/// Wakes a sandbox that its node was asked for when it had just been paused.
pub async fn wake_wanted(fleet: Arc<Fleet>, id: SandboxId) {
    if let Err(error) = wake(&fleet, &id).await {
        tracing::warn!(sandbox = %id, error = wire::causes::chain(&error), "it is needed and cannot be woken");
    }
}

/// A sandbox that is not on its way from one state to another, if that is so in time.
async fn settled(fleet: &Fleet, team: &TeamId, id: &SandboxId, wait: Duration) -> Result<SandboxRecord> {
    let record = owned(fleet, team, id).await?;
    let rests = |record: &SandboxRecord| record.is_settled() || record.desired == Desired::Deleted;
    if rests(&record) {
        return Ok(record);
    }
    fleet.wait_for(id, wait, rests).await?.ok_or_else(|| unknown(id))
}

fn not_there(fleet: &Fleet, record: &SandboxRecord) -> Error {
    match record.observed {
        State::Deleting | State::Deleted => ended(record),
        state => {
            let seconds = fleet.limits.ready_wait.as_secs();
            Error::StillMoving { id: record.id.clone(), state, seconds }
        }
    }
}

fn demand(record: &SandboxRecord) -> Capacity {
    let resources = record.spec.resources;
    Capacity { sandboxes: 1, vcpu: resources.vcpu, memory_mib: resources.memory_mib.into() }
}
