//! When a sandbox's time is up, changed while it runs or is paused.

use wire::id::{SandboxId, TeamId};
use wire::public::sandbox::Sandbox;
use wire::sandbox::State;
use wire::sandbox::limits::TIMEOUT_SECONDS;

use crate::converge;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::nodes::Node;
use crate::pauses::ready_or_paused;
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

/// Changes when a sandbox's time is up. That of one that is paused begins when it wakes, which this does not make it.
pub async fn change(fleet: &Fleet, team: &TeamId, id: &SandboxId, wanted: Change) -> Result<Sandbox> {
    loop {
        let changed = match ready_or_paused(fleet, team, id).await? {
            Some(node) => change_running(fleet, &node, id, wanted).await?,
            None => change_paused(fleet, id, wanted).await?,
        };
        // Or else somebody has paused or woken it by now.
        if let Some(sandbox) = changed {
            return Ok(sandbox);
        }
    }
}

/// Nothing if it is not paused any more. What is stored is enough: its node is told when it wakes.
async fn change_paused(fleet: &Fleet, id: &SandboxId, wanted: Change) -> Result<Option<Sandbox>> {
    let (mut refused, mut is_paused) = (None, false);
    let changed = |record: &mut SandboxRecord, _| match lifetime(record, wanted) {
        Ok(seconds) => {
            is_paused = record.want_seconds(seconds);
            is_paused
        }
        Err(error) => {
            refused = Some(error);
            false
        }
    };
    let record = fleet.change(id, changed).await?.ok_or_else(|| unknown(id))?;
    match refused {
        Some(error) if record.observed == State::Paused => Err(error),
        _ => Ok(is_paused.then(|| present(record))),
    }
}

/// Nothing if it runs no longer, and is not to end.
async fn change_running(
    fleet: &Fleet,
    node: &Node,
    id: &SandboxId,
    wanted: Change,
) -> Result<Option<Sandbox>> {
    // The node counts on a clock that nobody sets: what it said before the wall clock was set is not what is planned now.
    if let (Change::Later(_), Some(seen)) = (wanted, node.client.observed(id).await?) {
        converge::hear(fleet, &seen).await?;
    }
    let (mut refused, mut runs) = (None, false);
    let changed = |record: &mut SandboxRecord, now_ms| match plan(record, wanted, now_ms) {
        Ok(plan) => {
            runs = record.want_end_at(plan.ends_at_ms, plan.timeout_seconds);
            runs
        }
        Err(error) => {
            refused = Some(error);
            false
        }
    };
    let record = fleet.change(id, changed).await?.ok_or_else(|| unknown(id))?;
    match refused {
        Some(error) => Err(error),
        None if !runs && record.desired != Desired::Deleted => Ok(None),
        None => tell(fleet, id).await.map(Some),
    }
}

/// Returns when its node has written that down. One that ends meanwhile has ended.
async fn tell(fleet: &Fleet, id: &SandboxId) -> Result<Sandbox> {
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

/// For how long a sandbox is to run from when it wakes.
fn lifetime(record: &SandboxRecord, wanted: Change) -> Result<u32> {
    match wanted {
        Change::In(seconds) => Ok(seconds),
        Change::Later(seconds) => {
            let (now, most) = (record.spec.timeout_seconds, *TIMEOUT_SECONDS.end());
            let later = now.saturating_add(seconds);
            if later <= most { Ok(later) } else { Err(too_late(ms(now))) }
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
    fn one_that_is_paused_has_all_of_its_time_when_it_wakes() {
        let check = |wanted| lifetime(&fresh(), wanted).map_err(|error| error.to_string());
        assert_eq!(check(Change::In(1)), Ok(1));
        assert_eq!(check(Change::Later(28_500)), Ok(28_800));
        assert!(check(Change::Later(28_501)).unwrap_err().contains("at most 28500"));
    }

    #[test]
    fn more_than_the_limit_from_now_is_refused_with_what_can_be_added() {
        let error = plan(&planned(400_000), Change::Later(28_501), 100_000).unwrap_err().to_string();
        assert!(error.contains("28800 s") && error.contains("at most 28500"), "{error}");
    }
}
