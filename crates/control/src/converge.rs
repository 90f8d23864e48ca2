//! Moves nodes towards the store, and what nodes say into the store. Nothing else does either.
//!
//! The same code runs for a request, for the sweep, and after a crash: it has no
//! input but the record. A node that cannot be reached leaves its records alone.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use wire::id::SandboxId;
use wire::node::{
    DeleteSandbox, NodeErrorCode, Observed, PauseSandbox, PutDeadline, PutSandbox, WakeSandbox,
};
use wire::sandbox::{Reason, State};

use crate::error::Result;
use crate::fleet::{Fleet, MIB};
use crate::nodes::{Node, NodeFailure};
use crate::pauses;
use crate::record::{Desired, SandboxRecord, Step};
use crate::snapshots;
use crate::templates;

/// Sandboxes that one sweep tells nodes about.
const SWEEP_SANDBOXES_MAX: u32 = 256;

/// Sandboxes a node is told to drop at once.
const DISMISSALS_MAX: usize = 8;

/// How long to wait before a node that did not answer is tried again.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// The longest such wait.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);

/// Begins to tell the sandbox's node what is left to tell, unless that is under way.
pub fn start(fleet: &Arc<Fleet>, id: &SandboxId, step: Step) {
    let flight = (id.clone(), step);
    if !flights(fleet).insert(flight.clone()) {
        return;
    }
    let landing = Landing { fleet: fleet.clone(), flight };
    let id = id.clone();
    tokio::spawn(async move {
        let fleet = &landing.fleet;
        let done = match step {
            Step::Put => bring_up(fleet, &id).await,
            Step::Deadline => tell_deadline(fleet, &id).await,
            Step::Pause => tell_pause(fleet, &id).await,
            Step::Wake => tell_wake(fleet, &id).await,
            Step::Delete => take_down(fleet, &id).await,
        };
        if let Err(error) = done {
            tracing::warn!(sandbox = %id, ?step, error = wire::causes::chain(&error), "not converged; the sweep will try again");
        }
    });
}

/// Ends a flight however its task ends.
struct Landing {
    fleet: Arc<Fleet>,
    flight: (SandboxId, Step),
}

impl Drop for Landing {
    fn drop(&mut self) {
        flights(&self.fleet).remove(&self.flight);
    }
}

fn flights(fleet: &Fleet) -> std::sync::MutexGuard<'_, HashSet<(SandboxId, Step)>> {
    fleet.flights.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a sandbox brought up, or, if that fails or takes too long, leaves nothing of it.
async fn bring_up(fleet: &Arc<Fleet>, id: &SandboxId) -> Result<()> {
    let Some(record) = fleet.store.sandbox(id).await? else { return Ok(()) };
    let wait = fleet.limits.create_wait + record.spec.ready_wait();
    match tokio::time::timeout(wait, put_until_answered(fleet, id)).await {
        Ok(done) => done?,
        Err(_) => {
            let detail = format!("its node did not answer within {} s", wait.as_secs());
            fleet.change(id, |record, now_ms| record.fail(NodeErrorCode::Timeout, &detail, now_ms)).await?;
        }
    }
    take_down(fleet, id).await
}

/// Sends the `PUT`, again and again while the node cannot be reached: it is idempotent.
async fn put_until_answered(fleet: &Arc<Fleet>, id: &SandboxId) -> Result<()> {
    let mut wait = RETRY_WAIT;
    while let Some(record) =
        fleet.store.sandbox(id).await?.filter(|record| record.next_step() == Some(Step::Put))
    {
        match put(fleet, &record).await {
            Ok(seen) => return hear(fleet, &seen).await,
            Err(NodeFailure::Unreachable(error)) => {
                tracing::warn!(sandbox = %id, %error, "its node cannot be reached, trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_WAIT_MAX);
            }
            // Somebody wants something newer, and tells the node on another flight.
            Err(NodeFailure::Refused(refusal)) if refusal.code == NodeErrorCode::Stale => return Ok(()),
            Err(failure) => return give_up(fleet, id, failure).await,
        }
    }
    Ok(())
}

async fn put(fleet: &Fleet, record: &SandboxRecord) -> Result<Observed, NodeFailure> {
    let node = node_of(fleet, record).await?;
    let order = PutSandbox { generation: record.generation, spec: record.spec.clone() };
    node.client.put(&record.id, &order).await
}

async fn node_of(fleet: &Fleet, record: &SandboxRecord) -> Result<Arc<Node>, NodeFailure> {
    let unknown =
        || NodeFailure::Unreachable(format!("{} is not among the nodes that answer", record.node).into());
    fleet.nodes.get(&record.node).await.ok_or_else(unknown)
}

/// The sandbox could not be made: from now on it should be gone.
async fn give_up(fleet: &Fleet, id: &SandboxId, failure: NodeFailure) -> Result<()> {
    let code = match &failure {
        NodeFailure::Refused(refusal) => refusal.code,
        NodeFailure::Slow { .. } => NodeErrorCode::Timeout,
        NodeFailure::Unreachable(_) | NodeFailure::Malformed(_) => NodeErrorCode::Internal,
    };
    let detail = match &failure {
        NodeFailure::Refused(refusal) => refusal.message.clone(),
        other => other.to_string(),
    };
    tracing::warn!(sandbox = %id, error = wire::causes::chain(&failure), "could not be made");
    fleet.change(id, |record, now_ms| record.fail(code, &detail, now_ms)).await?;
    Ok(())
}

/// Tells the node when a sandbox is to end, if it has yet to hear it. Several may do so at once: the newest wins.
pub async fn tell_deadline(fleet: &Fleet, id: &SandboxId) -> Result<()> {
    let record = fleet.store.sandbox(id).await?;
    let Some(record) = record.filter(|record| record.next_step() == Some(Step::Deadline)) else {
        return Ok(());
    };
    let node = node_of(fleet, &record).await?;
    match node.client.put_deadline(id, &deadline(&record, fleet.now_ms())).await {
        Ok(seen) => hear(fleet, &seen).await,
        Err(NodeFailure::Refused(refusal)) => match refusal.code {
            NodeErrorCode::Stale => catch_up(fleet, &node, id).await,
            // It has ended meanwhile, and the node says so, or has lost it, which the next comparison finds.
            NodeErrorCode::WrongState | NodeErrorCode::NotFound => Ok(()),
            _ => Err(NodeFailure::Refused(refusal).into()),
        },
        Err(failure) => Err(failure.into()),
    }
}

/// Has the node pause a sandbox, if that is what is wanted. Several may do so at once: it is paused once.
pub async fn tell_pause(fleet: &Fleet, id: &SandboxId) -> Result<()> {
    let record = fleet.store.sandbox(id).await?;
    let Some(record) = record.filter(|record| record.next_step() == Some(Step::Pause)) else {
        return Ok(());
    };
    let node = node_of(fleet, &record).await?;
    let generation = record.generation;
    match node.client.pause(id, &PauseSandbox { generation }).await {
        Ok(seen) => hear(fleet, &seen).await,
        Err(NodeFailure::Refused(refusal)) => match refusal.code {
            NodeErrorCode::Stale => catch_up(fleet, &node, id).await,
            // It has ended meanwhile, and the node says so, or has lost it.
            NodeErrorCode::WrongState | NodeErrorCode::NotFound => Ok(()),
            NodeErrorCode::Timeout => Err(NodeFailure::Refused(refusal).into()),
            _ => {
                fleet.change(id, |record, _| record.pause_refused(generation)).await?;
                Err(NodeFailure::Refused(refusal).into())
            }
        },
        Err(failure) => Err(failure.into()),
    }
}

/// Has the node wake a sandbox, if that is what is wanted. Several may do so at once: it wakes once.
pub async fn tell_wake(fleet: &Fleet, id: &SandboxId) -> Result<()> {
    let record = fleet.store.sandbox(id).await?;
    let Some(record) = record.filter(|record| record.next_step() == Some(Step::Wake)) else {
        return Ok(());
    };
    let node = node_of(fleet, &record).await?;
    let generation = record.generation;
    let order = WakeSandbox { generation, timeout_seconds: record.spec.timeout_seconds };
    match node.client.wake(id, &order).await {
        Ok(seen) => hear(fleet, &seen).await,
        Err(NodeFailure::Refused(refusal)) => match refusal.code {
            NodeErrorCode::Stale => catch_up(fleet, &node, id).await,
            NodeErrorCode::WrongState | NodeErrorCode::NotFound => Ok(()),
            NodeErrorCode::Timeout => Err(NodeFailure::Refused(refusal).into()),
            _ => {
                fleet.change(id, |record, now_ms| record.wake_refused(generation, now_ms)).await?;
                Err(NodeFailure::Refused(refusal).into())
            }
        },
        Err(failure) => Err(failure.into()),
    }
}

/// The node has seen a newer generation than it was told: a newer wish on another flight, or, where the store has none
/// so new, one of before a backup.
async fn catch_up(fleet: &Fleet, node: &Node, id: &SandboxId) -> Result<()> {
    let Some(seen) = node.client.observed(id).await? else { return Ok(()) };
    let from_before = |record: &SandboxRecord| record.generation < seen.generation;
    fleet.change(id, |record, _| from_before(record) && record.outrank(seen.generation)).await?;
    hear(fleet, &seen).await
}

/// The wall clock's moment as a time from now: the node counts it on the clock that nobody sets.
fn deadline(record: &SandboxRecord, now_ms: i64) -> PutDeadline {
    let left = record.ends_at_ms.unwrap_or(now_ms).saturating_sub(now_ms);
    PutDeadline { generation: record.generation, ends_in_ms: u64::try_from(left).unwrap_or(0) }
}

/// Has a sandbox taken down, if that is what is wanted.
async fn take_down(fleet: &Fleet, id: &SandboxId) -> Result<()> {
    let record = fleet.store.sandbox(id).await?;
    let Some(record) = record.filter(|record| record.next_step() == Some(Step::Delete)) else {
        return Ok(());
    };
    let node = node_of(fleet, &record).await?;
    let order = DeleteSandbox { generation: record.generation, reason: record.end_reason() };
    match node.client.delete(id, &order).await {
        Ok(seen) => hear(fleet, &seen).await,
        Err(NodeFailure::Refused(refusal)) if refusal.code == NodeErrorCode::Stale => {
            outrank(fleet, &node, id).await
        }
        Err(failure) => Err(failure.into()),
    }
}

/// The node has seen a newer generation than the store has: a store from a backup. The next sweep will be newer still.
async fn outrank(fleet: &Fleet, node: &Node, id: &SandboxId) -> Result<()> {
    let Some(seen) = node.client.observed(id).await? else { return Ok(()) };
    fleet.change(id, |record, _| record.outrank(seen.generation)).await?;
    Ok(())
}

/// A node said this of a sandbox. Unknown ones are left to [`compare`].
pub async fn hear(fleet: &Fleet, seen: &Observed) -> Result<()> {
    let Some(known) = fleet.store.sandbox(&seen.id).await? else { return Ok(()) };
    // Nodes repeat themselves; only news is worth the write lock.
    if known.clone().observe(seen, fleet.now_ms()) {
        // Before it is known to be gone: what is interrupted here is heard again.
        snapshots::inherit(fleet, &known, seen).await?;
        let record = fleet.change(&seen.id, |record, now_ms| record.observe(seen, now_ms)).await?;
        if let Some(record) = record.filter(|record| record.observed == State::Deleted) {
            metrics::counter!("atoll_sandboxes_ended_total", "reason" => record.end_reason().as_str())
                .increment(1);
        }
    }
    Ok(())
}

/// Listens to a node for as long as this runs.
pub async fn listen(fleet: Arc<Fleet>, node: Arc<Node>) {
    let mut wait = RETRY_WAIT;
    loop {
        match follow(&fleet, &node, &mut wait).await {
            Ok(()) => {
                tracing::info!(socket = %node.socket.display(), "the node ended its report; listening again")
            }
            Err(error) => {
                tracing::warn!(socket = %node.socket.display(), error = wire::causes::chain(&error), "cannot hear the node");
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_WAIT_MAX);
    }
}

async fn follow(fleet: &Arc<Fleet>, node: &Node, wait: &mut Duration) -> Result<()> {
    let mut changes = node.client.changes().await?;
    node.refresh().await?;
    while let Some(seen) = changes.next().await? {
        *wait = RETRY_WAIT;
        hear(fleet, &seen).await?;
        if seen.is_wanted {
            tokio::spawn(pauses::wake_wanted(fleet.clone(), seen.id));
        }
    }
    Ok(())
}

/// Sweeps for as long as this runs, first of all at once.
pub async fn sweep_for_ever(fleet: Arc<Fleet>) {
    let mut ticks = tokio::time::interval(fleet.limits.sweep_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = sweep(&fleet).await {
            tracing::error!(
                error = wire::causes::chain(&error),
                "the sweep failed; the next one will try again"
            );
        }
    }
}

/// Takes up everything that is not as it should be.
pub async fn sweep(fleet: &Arc<Fleet>) -> Result<()> {
    fleet.nodes.refresh().await;
    fleet.store.place().hold_room(fleet.limits.disk_reserve_mib * MIB);
    for record in fleet.store.unsettled(SWEEP_SANDBOXES_MAX).await? {
        if let Some(step) = record.next_step() {
            start(fleet, &record.id, step);
        }
    }
    for node in fleet.nodes.all().iter().filter(|node| node.is_reachable()) {
        compare(fleet, node).await?;
    }
    templates::resume(fleet).await?;
    fleet.store.forget_create_keys(fleet.ago_ms(fleet.limits.idempotency_retention)).await?;
    fleet.store.forget_deleted(fleet.ago_ms(fleet.limits.record_retention)).await?;
    fleet.store.forget_events(fleet.ago_ms(fleet.limits.event_retention)).await?;
    Ok(())
}

/// Puts all that a node has beside all that the store knows of it.
async fn compare(fleet: &Arc<Fleet>, node: &Node) -> Result<()> {
    let Some(node_id) = node.id() else { return Ok(()) };
    // Read before the node is asked: what it did not have by then, it lost.
    let expected = fleet.store.running_on(&node_id).await?;
    let Ok(seen) = node.client.all_observed().await else { return Ok(()) };
    let mut strangers = Vec::new();
    for observed in &seen {
        hear(fleet, observed).await?;
        let known = fleet.store.sandbox(&observed.id).await?;
        if known.as_ref().is_none_or(|record| record.observed == State::Deleted) {
            strangers.push((observed.clone(), known));
        }
    }
    let dismiss = |(observed, known): (Observed, _)| async move { dismiss(node, &observed, known).await };
    futures_util::stream::iter(strangers).for_each_concurrent(DISMISSALS_MAX, dismiss).await;
    let has: HashSet<&SandboxId> = seen.iter().map(|observed| &observed.id).collect();
    for id in expected.iter().filter(|id| !has.contains(id)) {
        confirm_lost(fleet, node, id).await?;
    }
    Ok(())
}

/// Tells a node that the store does not want this: it has never heard of it, or has recorded its end.
async fn dismiss(node: &Node, seen: &Observed, known: Option<SandboxRecord>) {
    if seen.state != State::Deleted && is_there_still(node, &seen.id).await {
        tracing::warn!(sandbox = %seen.id, socket = %node.socket.display(), "the node has a sandbox that should not be");
    }
    let (generation, reason) =
        known.map_or((0, Reason::Deleted), |record| (record.generation, record.end_reason()));
    let order = DeleteSandbox { generation: generation.max(seen.generation + 1), reason };
    if let Err(failure) = node.client.delete(&seen.id, &order).await {
        tracing::warn!(sandbox = %seen.id, error = wire::causes::chain(&failure), "not dismissed; the sweep will try again");
    }
}

/// Whether the node has it now: it may have gone since the node was asked for all.
async fn is_there_still(node: &Node, id: &SandboxId) -> bool {
    let now = node.client.observed(id).await;
    now.is_ok_and(|now| now.is_some_and(|now| now.state != State::Deleted))
}

async fn confirm_lost(fleet: &Fleet, node: &Node, id: &SandboxId) -> Result<()> {
    // It may have been deleted since: then the record says so, and this is no news.
    let Ok(None) = node.client.observed(id).await else { return Ok(()) };
    let still_wanted = |record: &SandboxRecord| record.desired != Desired::Deleted;
    fleet.change(id, |record, now_ms| still_wanted(record) && record.lost(now_ms)).await?;
    Ok(())
}
