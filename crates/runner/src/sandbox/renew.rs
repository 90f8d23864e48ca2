//! Makes what goes on from a checkpoint its own again, before anybody is served.

use std::time::Duration;

use engine::Machine;
use wire::causes::chain;
use wire::guest::renew::{HookEnd, RENEW_SECONDS_MAX, Renew, RenewKind, Renewed};
use wire::guest::{Done, ErrorCode, Request};

use super::record::Record;
use crate::guest::{Connection, GuestError};
use crate::node::Node;
use crate::supervisor::random_hex;

/// The step after the agent answers: what is inside is told that it goes on.
pub(super) const RENEWED: &str = "renewed";

/// Gives it the name, the token and the randomness that are its own. The token that opens its agent from now on.
pub(super) async fn renew(
    node: &Node,
    machine: &Machine,
    connection: &Connection,
    as_it_was: &Record,
    kind: RenewKind,
) -> Result<String, String> {
    let token = random_hex().map_err(|error| error.message)?;
    let order = Request::Renew(Renew {
        token: token.clone(),
        hostname: as_it_was.id.to_string(),
        wall_ms: node.clock.wall_ms(),
        kind,
        entropy: random_hex().map_err(|error| error.message)?,
    });
    let ask = connection.ask(&order);
    let answer = tokio::select! {
        biased;
        // A dead machine does not hang up.
        exit = machine.exited() => return Err(exit.evidence),
        answer = tokio::time::timeout(Duration::from_secs(RENEW_SECONDS_MAX), ask) => answer,
    };
    match answer {
        Ok(Ok(Done::Renewed(renewed))) => {
            told(as_it_was, &renewed);
            Ok(token)
        }
        // An older agent: what goes on as itself can do without, copies cannot.
        Ok(Err(GuestError::Failed(refusal)))
            if refusal.code == ErrorCode::Unsupported && kind == RenewKind::Wake =>
        {
            Ok(as_it_was.token.clone())
        }
        Ok(Ok(other)) => Err(format!("its agent answered {other:?} when it was to be renewed")),
        Ok(Err(error)) => Err(format!("it cannot be made its own: {}", chain(&error))),
        Err(_) => Err(format!("it was not made its own within {RENEW_SECONDS_MAX} s")),
    }
}

fn told(record: &Record, renewed: &Renewed) {
    let Renewed { clock_stepped_ms, generation_id, hooks, notes } = renewed;
    tracing::debug!(sandbox = %record.id, clock_stepped_ms, generation_id, "renewed");
    let is_bad = |hook: &&HookEnd| hook.exit_code != Some(0);
    for HookEnd { name, exit_code, timed_out, said } in hooks.iter().filter(is_bad) {
        tracing::warn!(sandbox = %record.id, hook = name, exit_code, timed_out, said, "a hook failed");
    }
    for note in notes {
        tracing::warn!(sandbox = %record.id, note, "something was left as it was");
    }
}
