//! Makes a machine and claims its agent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Arrival, Checkpoint, Machine, MachineSpec};
use tokio::sync::watch;
use wire::guest::renew::RenewKind;
use wire::node::StepTime;
use wire::snapshot::Root;

use super::dial::dial;
use super::record::Record;
use super::renew::{RENEWED, renew};
use crate::guest::Connection;
use crate::node::Node;
use crate::vault::{Files, check, token};
use wire::causes::chain;

/// A fresh agent has so long to listen and to be claimed.
const AGENT_START_BOUND: Duration = Duration::from_secs(30);
/// Before a bring-up: its record is written.
const RECORDED: &str = "recorded";
/// What it goes on from is here, plain.
const FETCHED: &str = "fetched";
/// The last step of a bring-up: the agent answers.
const AGENT: &str = "agent";

/// A machine whose agent answers.
pub(super) struct Up {
    pub(super) machine: Machine,
    pub(super) connection: Connection,
    /// What opens its agent.
    pub(super) token: String,
    /// How long each step took.
    pub(super) steps: Vec<StepTime>,
}

/// Makes it, in turn with others; or says why there is none. Nothing is left then.
pub(super) async fn bring_up(node: Arc<Node>, record: Record) -> Result<Up, String> {
    // The semaphore is never closed, so an error cannot happen; without a permit it is merely slower.
    let _permit = node.bring_ups.acquire().await.ok();
    node.faults.reached(RECORDED).await;
    let up = match &record.spec.from {
        None => make(&node, &record, None).await,
        Some(origin) => {
            let kind = if origin.is_fork { RenewKind::Fork } else { RenewKind::Restore };
            go_on_from(&node, &record, origin.snapshot, kind).await
        }
    };
    up.inspect_err(|evidence| tracing::warn!(sandbox = %record.id, evidence, "bring-up failed"))
}

/// The same from what was kept of it. If it fails, what was kept still is.
pub(super) async fn restore(node: Arc<Node>, record: Record) -> Result<Up, String> {
    let _permit = node.bring_ups.acquire().await.ok();
    let restored = match record.kept {
        Some(root) => go_on_from(&node, &record, root, RenewKind::Wake).await,
        None => Err("nothing was kept of it".into()),
    };
    if let Err(evidence) = &restored {
        tracing::warn!(sandbox = %record.id, evidence, "it could not be woken");
        if let Err(left) = node.engine.release(&record.id).await {
            tracing::error!(sandbox = %record.id, error = chain(&left), "half a wake could not be undone");
        }
    }
    restored
}

async fn go_on_from(node: &Node, record: &Record, root: Root, kind: RenewKind) -> Result<Up, String> {
    let facts = node.vault.facts(root).await.map_err(|error| error.message)?;
    check(&facts, node, &record.spec.image).map_err(|error| error.message)?;
    let token = token(&facts).map_err(|error| error.message)?;
    let mut as_it_was = record.clone();
    as_it_was.token = token;
    let (tell, checkpoint) = Checkpoint::coming();
    // What is plain stays so until the machine has read it.
    let (fetched, up) = tokio::join!(fetch(node, root, tell), make(node, &as_it_was, Some(checkpoint)));
    let ((_files, step), mut up) = (fetched?, up?);
    up.steps.insert(0, step);
    let began = Instant::now();
    up.token = renew(node, &up.machine, &up.connection, &as_it_was, kind).await?;
    node.faults.reached(RENEWED).await;
    up.steps.push(StepTime { step: RENEWED.into(), micros: began.elapsed().as_micros() as u64 });
    tracing::debug!(sandbox = %record.id, steps = ?up.steps, "it goes on");
    Ok(up)
}

/// Brings a snapshot here, and tells where it is, or why it is not.
async fn fetch(
    node: &Node,
    root: Root,
    tell: watch::Sender<Option<Arrival>>,
) -> Result<(Arc<Files>, StepTime), String> {
    let began = Instant::now();
    let fetched = node.vault.fetch(root).await.map_err(|error| error.message);
    node.faults.reached(FETCHED).await;
    let step = StepTime { step: FETCHED.into(), micros: began.elapsed().as_micros() as u64 };
    tell.send_replace(Some(fetched.as_ref().map(|files| files.dir().to_owned()).map_err(Clone::clone)));
    Ok((fetched?, step))
}

async fn make(node: &Node, record: &Record, from: Option<Checkpoint>) -> Result<Up, String> {
    let image = node.image(&record.spec.image).map_err(|error| error.message)?;
    let spec = MachineSpec { id: record.id.clone(), image, resources: record.spec.resources, from };
    let up = node.engine.up(&spec).await.map_err(|error| chain(&error))?;
    let began = Instant::now();
    let connection = dial(node, &up.machine, record, AGENT_START_BOUND).await?;
    node.faults.reached(AGENT).await;
    let mut steps = up.steps;
    steps.push(StepTime { step: AGENT.into(), micros: began.elapsed().as_micros() as u64 });
    Ok(Up { machine: up.machine, connection, token: record.token.clone(), steps })
}
