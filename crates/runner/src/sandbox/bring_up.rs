//! Makes a machine and claims its agent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Machine, MachineSpec};
use wire::node::StepTime;

use super::dial::dial;
use super::record::Record;
use crate::guest::Connection;
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
    let up = try_bring_up(&node, &record).await;
    up.inspect_err(|evidence| tracing::warn!(sandbox = %record.id, evidence, "bring-up failed"))
}

async fn try_bring_up(node: &Node, record: &Record) -> Result<Up, String> {
    let image = node.image(&record.spec.image).map_err(|error| error.message)?;
    let spec = MachineSpec { id: record.id.clone(), image, resources: record.spec.resources };
    let up = node.engine.up(&spec).await.map_err(|error| chain(&error))?;
    let began = Instant::now();
    let connection = dial(node, &up.machine, record, AGENT_START_BOUND).await?;
    node.faults.reached(AGENT).await;
    let mut steps = up.steps;
    steps.push(StepTime { step: AGENT.into(), micros: began.elapsed().as_micros() as u64 });
    Ok(Up { machine: up.machine, connection, steps })
}
