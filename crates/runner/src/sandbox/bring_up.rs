//! Makes a machine and claims its agent.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Machine, MachineSpec};
use wire::node::StepTime;

use super::capture::{kept, origin};
use super::dial::dial;
use super::record::Record;
use crate::guest::Connection;
use crate::keep::Keep;
use crate::node::Node;
use wire::causes::chain;

/// A fresh agent has so long to listen and to be claimed.
const AGENT_START_BOUND: Duration = Duration::from_secs(30);
/// Before a bring-up: its record is written.
const RECORDED: &str = "recorded";
/// The last step of a bring-up: the agent answers.
const AGENT: &str = "agent";

/// A machine whose agent answers.
pub(super) struct Up {
    pub(super) machine: Machine,
    pub(super) connection: Connection,
    /// How long each step took.
    pub(super) steps: Vec<StepTime>,
}

/// Makes it, in turn with others; or says why there is none. Nothing is left then.
pub(super) async fn bring_up(node: Arc<Node>, record: Record) -> Result<Up, String> {
    // The semaphore is never closed, so an error cannot happen; without a permit it is merely slower.
    let _permit = node.bring_ups.acquire().await.ok();
    node.faults.reached(RECORDED).await;
    let up = make(&node, &record, None).await;
    up.inspect_err(|evidence| tracing::warn!(sandbox = %record.id, evidence, "bring-up failed"))
}

/// The same from what was kept of it. If there is none, what was kept still is.
pub(super) async fn restore(node: Arc<Node>, record: Record) -> Result<Up, String> {
    let _permit = node.bring_ups.acquire().await.ok();
    let restored = try_restore(&node, &record).await;
    if let Err(evidence) = &restored {
        tracing::warn!(sandbox = %record.id, evidence, "it could not be woken");
        if let Err(left) = node.engine.release(&record.id).await {
            tracing::error!(sandbox = %record.id, error = chain(&left), "half a wake could not be undone");
        }
    }
    restored
}

async fn try_restore(node: &Node, record: &Record) -> Result<Up, String> {
    let origin = origin(node, record);
    let find = move |keep: &Keep, id: &_| Ok(keep.find(id, &origin));
    let from = kept(node, &record.id, find).await.map_err(|error| error.message)??;
    make(node, record, Some(from)).await
}

async fn make(node: &Node, record: &Record, from: Option<PathBuf>) -> Result<Up, String> {
    let image = node.image(&record.spec.image).map_err(|error| error.message)?;
    let spec = MachineSpec { id: record.id.clone(), image, resources: record.spec.resources, from };
    let up = node.engine.up(&spec).await.map_err(|error| chain(&error))?;
    let began = Instant::now();
    let connection = dial(node, &up.machine, record, AGENT_START_BOUND).await?;
    node.faults.reached(AGENT).await;
    let mut steps = up.steps;
    steps.push(StepTime { step: AGENT.into(), micros: began.elapsed().as_micros() as u64 });
    Ok(Up { machine: up.machine, connection, steps })
}
