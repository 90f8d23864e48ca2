//! Leaves nothing of a sandbox on the host.

use std::sync::Arc;
use std::time::Duration;

use wire::id::SandboxId;
use wire::snapshot::Root;

use super::lifecycle::Event;
use crate::node::Node;
use wire::causes::chain;

/// Between two attempts to take down what would not go: doubled each time, up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A store that does not answer holds nobody up for longer.
const FORGET_WAIT: Duration = Duration::from_secs(2);

/// Takes down what an earlier process left, a few sandboxes at a time.
pub(super) async fn bury(node: Arc<Node>, id: SandboxId, kept: Option<Root>) -> Event {
    // The semaphore is never closed, so an error cannot happen; without a permit it is merely sooner.
    let _permit = node.burials.acquire().await.ok();
    tear_down(node.clone(), id, kept, 0).await
}

/// Takes it down, what is kept of it too, after so many attempts that failed.
pub(super) async fn tear_down(node: Arc<Node>, id: SandboxId, kept: Option<Root>, attempts: u32) -> Event {
    tokio::time::sleep(pause(attempts)).await;
    let down = node.engine.down(&id).await.map_err(|error| chain(&error));
    match down {
        Ok(()) => {
            forget(&node, &id, kept).await;
            Event::TornDown
        }
        Err(evidence) => {
            tracing::error!(sandbox = %id, evidence, "it could not be taken down; trying again");
            Event::TearDownFailed(evidence)
        }
    }
}

/// What was kept of it is nobody's any more. Where that cannot be said to the store, it is found when that is pruned: no
/// sandbox stays for it.
pub(super) async fn forget(node: &Node, id: &SandboxId, kept: Option<Root>) {
    let Some(root) = kept else { return };
    let (vault, id) = (node.vault.clone(), id.clone());
    let forgetting = tokio::spawn(async move {
        if let Err(error) = vault.remove(root).await {
            tracing::warn!(sandbox = %id, %root, error = error.message, "what was kept of it goes with the next pruning");
        }
    });
    // It goes on by itself.
    let _ = tokio::time::timeout(FORGET_WAIT, forgetting).await;
}

/// None before the first attempt, then ever longer ones.
pub(super) fn pause(attempts: u32) -> Duration {
    let (first, longest) = PAUSE;
    match attempts.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => first.saturating_mul(1 << doublings.min(16)).min(longest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_downs_are_repeated_at_once_and_then_ever_more_patiently() {
        assert_eq!(pause(0), Duration::ZERO);
        assert_eq!(pause(1), PAUSE.0);
        assert_eq!(pause(2), PAUSE.0 * 2);
        assert_eq!(pause(99), PAUSE.1);
    }
}
