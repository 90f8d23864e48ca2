//! When a sandbox's time is up, changed while it runs.

use std::sync::Arc;

use wire::id::{SandboxId, TeamId};
use wire::public::sandbox::Sandbox;
use wire::sandbox::State;
use wire::sandbox::limits::TIMEOUT_SECONDS;

use crate::converge;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::pauses::ready;
use crate::record::{Desired, SandboxRecord, Step};
use crate::sandboxes::{ended, present, unknown};

/// How its time is to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Up so many seconds from now.
    In(u32),
    /// Up so many seconds later than planned.
    Later(u32),
}

/// Changes when a sandbox's time is up; returns when its node has written that down. One that ends meanwhile has ended.
pub async fn change(fleet: &Arc<Fleet>, team: &TeamId, id: &SandboxId, wanted: Change) -> Result<Sandbox> {
    let node = ready(fleet, team, id).await?;
    // The node counts on a clock that nobody sets: what it said before the wall clock was set is not what is planned now.
    if let (Change::Later(_), Some(seen)) = (wanted, node.client.observed(id).await?) {
        converge::hear(fleet, &seen).await?;
    }
    let mut refused = None;
    let changed = |record: &mut SandboxRecord, now_ms| match plan(record, wanted, now_ms) {
        Ok(plan) => record.want_end_at(plan.ends_at_ms, plan.timeout_seconds),
        Err(error) => {
            refused = Some(error);
            false
        }
    };
    fleet.change(id, changed).await?;
    if let Some(error) = refused {
        return Err(error);
    }
    converge::tell_deadline(fleet, id).await?;
    let told = |record: &SandboxRecord| {
        let ends_by_itself = record.observed == State::Deleting && record.desired == Desired::Running;
        record.next_step() != Some(Step::Deadline) && !ends_by_itself
    };
    let wait = fleet.limits.delete_wait;
    let record = fleet.wait_for(id, wait, told).await?.ok_or_else(|| unknown(id))?;
    match record.observed {
        State::Deleting | State::Deleted => Err(ended(&record)),
        _ if told(&record) => Ok(present(record)),
        _ => {
            Err(Error::Slow { what: "telling the node when the sandbox is to end", seconds: wait.as_secs() })
        }
    }
}

/// What is to be from now on.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    ends_at_ms: i64,
    timeout_seconds: u32,
}

fn plan(record: &SandboxRecord, wanted: Change, now_ms: i64) -> Result<Plan> {
    match wanted {
        Change::In(seconds) => Ok(Plan { ends_at_ms: now_ms + ms(seconds), timeout_seconds: seconds }),
        Change::Later(seconds) => {
            let planned_ms = record.timeout_at_ms.unwrap_or(now_ms);
            let ends_at_ms = planned_ms + ms(seconds);
            if ends_at_ms > now_ms + ms(*TIMEOUT_SECONDS.end()) {
                return Err(too_late(planned_ms - now_ms));
            }
            let timeout_seconds = record.spec.timeout_seconds.saturating_add(seconds);
            Ok(Plan { ends_at_ms, timeout_seconds })
        }
    }
}

fn ms(seconds: u32) -> i64 {
    i64::from(seconds) * 1000
}

fn too_late(left_ms: i64) -> Error {
    let (most, left) = (TIMEOUT_SECONDS.end(), left_ms.max(0).cast_unsigned().div_ceil(1000));
    let more = u64::from(*most).saturating_sub(left);
    Error::field(
        "extend",
        format!(
            "would end it more than {most} s from now, which is the limit; it has {left} s left, so at most {more} can be added"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::fresh;

    fn planned(timeout_at_ms: i64) -> SandboxRecord {
        SandboxRecord { timeout_at_ms: Some(timeout_at_ms), ..fresh() }
    }

    #[test]
    fn time_is_set_from_now_and_extended_from_what_was_planned() {
        let check = |wanted, ends_at_ms, timeout_seconds| {
            let plan = plan(&planned(400_000), wanted, 100_000).unwrap();
            assert_eq!(plan, Plan { ends_at_ms, timeout_seconds });
        };
        check(Change::In(1), 101_000, 1);
        check(Change::In(28_800), 28_900_000, 28_800);
        check(Change::Later(60), 460_000, 360);
        check(Change::Later(28_500), 28_900_000, 28_800);
    }

    #[test]
    fn more_than_the_limit_from_now_is_refused_with_what_can_be_added() {
        let error = plan(&planned(400_000), Change::Later(28_501), 100_000).unwrap_err().to_string();
        assert!(error.contains("28800 s") && error.contains("at most 28500"), "{error}");
    }
}
