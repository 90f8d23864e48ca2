//! Whether a team may have more. Pure.

use serde_json::{Map, Value};
use wire::node::Capacity;
use wire::public::team::{OwnLimits, TeamLimits, TeamUse};

use crate::error::{Error, Result};

/// What a team may have: what was set for it, and the defaults.
pub fn effective(defaults: &TeamLimits, own: &OwnLimits) -> TeamLimits {
    TeamLimits {
        sandboxes: own.sandboxes.unwrap_or(defaults.sandboxes),
        vcpu: own.vcpu.unwrap_or(defaults.vcpu),
        memory_mib: own.memory_mib.unwrap_or(defaults.memory_mib),
        keys: own.keys.unwrap_or(defaults.keys),
        templates: own.templates.unwrap_or(defaults.templates),
        requests_per_second: own.requests_per_second.unwrap_or(defaults.requests_per_second),
        requests_burst: own.requests_burst.unwrap_or(defaults.requests_burst),
    }
}

/// Limits after a change: those that are `null` in it are the defaults again, those left out stay.
pub fn changed(own: &OwnLimits, changes: &Map<String, Value>) -> Result<OwnLimits> {
    let unreadable = |error| Error::internal("limits cannot be merged", error);
    let mut merged = serde_json::to_value(own).map_err(unreadable)?;
    if let Some(object) = merged.as_object_mut() {
        object.extend(changes.clone());
    }
    serde_json::from_value(merged).map_err(unreadable)
}

/// Fails if a sandbox of this size would be more than the team may have.
pub fn admit(limits: &TeamLimits, used: &TeamUse, wanted: &Capacity) -> Result<()> {
    within("sandboxes", limits.sandboxes.into(), used.sandboxes.into(), wanted.sandboxes.into())?;
    within("vCPU", limits.vcpu.into(), used.vcpu.into(), wanted.vcpu.into())?;
    within("MiB of memory", limits.memory_mib, used.memory_mib, wanted.memory_mib)
}

/// Fails if so much more of something would be more than its limit.
pub fn within(what: &'static str, limit: u64, used: u64, wanted: u64) -> Result<()> {
    if used.saturating_add(wanted) <= limit {
        return Ok(());
    }
    Err(Error::TeamLimit { what, limit, used, wanted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::public::team::defaults::LIMITS;

    #[test]
    fn a_null_limit_is_the_default_again_and_one_left_out_stays() {
        let own = OwnLimits { sandboxes: Some(3), vcpu: Some(4), ..OwnLimits::default() };
        let changes = serde_json::json!({ "sandboxes": null, "keys": 7 });
        let after = changed(&own, changes.as_object().unwrap()).unwrap();
        assert_eq!(after, OwnLimits { vcpu: Some(4), keys: Some(7), ..OwnLimits::default() });
        let limits = effective(&LIMITS, &after);
        assert_eq!((limits.sandboxes, limits.vcpu, limits.keys), (LIMITS.sandboxes, 4, 7));
    }

    #[test]
    fn a_refusal_names_the_limit_and_the_use() {
        let limits = TeamLimits { memory_mib: 4096, ..LIMITS };
        let used = TeamUse { sandboxes: 1, vcpu: 1, memory_mib: 3072, ..TeamUse::default() };
        let wanted = Capacity { sandboxes: 1, vcpu: 1, memory_mib: 2048 };
        let message = admit(&limits, &used, &wanted).unwrap_err().to_string();
        for number in ["3072", "4096", "2048", "MiB of memory"] {
            assert!(message.contains(number), "{message}");
        }
    }

    proptest! {
        #[test]
        fn what_is_admitted_is_never_beyond_a_limit(
            limit in any::<[u32; 3]>(), used in any::<[u32; 3]>(), wanted in any::<[u32; 3]>(),
        ) {
            let limits =
                TeamLimits { sandboxes: limit[0], vcpu: limit[1], memory_mib: limit[2].into(), ..LIMITS };
            let have = TeamUse {
                sandboxes: used[0],
                vcpu: used[1],
                memory_mib: used[2].into(),
                ..TeamUse::default()
            };
            let more = Capacity { sandboxes: wanted[0], vcpu: wanted[1], memory_mib: wanted[2].into() };
            let fits = (0..3).all(|i| u64::from(used[i]) + u64::from(wanted[i]) <= u64::from(limit[i]));
            prop_assert_eq!(admit(&limits, &have, &more).is_ok(), fits);
        }
    }
}
