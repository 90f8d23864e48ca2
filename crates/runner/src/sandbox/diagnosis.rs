//! Who it was that fell silent: the agent, or the machine under it.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use engine::Machine;

use super::lifecycle::Event;
use crate::guest::Connection;
use crate::node::Node;

/// Of a machine whose agent is silent, a connection is asked for, which its kernel grants alone, within so long.
const DIAGNOSIS_BOUND: Duration = Duration::from_secs(5);
/// A machine whose agent fell silent has so long to be seen to have ended.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// Waits until the agent is silent for too long, and says what became of it.
pub(super) async fn pulse(node: Arc<Node>, machine: Machine, connection: Connection) -> Event {
    let evidence = node.pulse.lost(&connection).await;
    diagnose(&node, &machine, evidence).await
}

/// An engine that lives grants a connection even if its agent does not.
pub(super) async fn diagnose(node: &Node, machine: &Machine, mut evidence: String) -> Event {
    if tokio::time::timeout(EXIT_GRACE, machine.exited()).await.is_ok() {
        // The agent is silent because its machine has ended: that is the cause to record.
        return pending().await;
    }
    let dialled = node.engine.dial_agent(machine, DIAGNOSIS_BOUND).await;
    let condition = node.engine.condition(&machine.id).await;
    if !condition.is_empty() {
        evidence.push_str("; ");
        evidence.push_str(&condition);
    }
    // The host may have killed a part of it that the rest now waits for.
    if node.engine.post_mortem(&machine.id).await.out_of_memory {
        return Event::EngineExited { out_of_memory: true, evidence };
    }
    match dialled {
        Err(engine::Error::Timeout { .. }) => {
            let evidence = format!("the sandbox's kernel does not answer: {evidence}");
            Event::EngineExited { out_of_memory: false, evidence }
        }
        _ => Event::AgentLost(evidence),
    }
}
