//! The audit: what is on the host although its sandbox is gone. Pure.

use std::collections::BTreeMap;

use engine::Owned;
use wire::id::SandboxId;
use wire::node::Leak;

/// Those resources whose owner is not alive, or has no name.
pub fn of(owned: Vec<Owned>, is_alive: impl Fn(&SandboxId) -> bool) -> Vec<Leak> {
    let orphan = |owned: &Owned| owned.owner.as_ref().is_none_or(|owner| !is_alive(owner));
    let leak = |owned: Owned| Leak { kind: owned.kind.to_owned(), name: owned.name, owner: owned.owner };
    let mut leaks: Vec<Leak> = owned.into_iter().filter(orphan).map(leak).collect();
    leaks.sort();
    leaks
}

/// How many there are of each kind an engine can leave; of most, none.
pub fn count(leaks: &[Leak]) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> =
        engine::KINDS.iter().map(|kind| ((*kind).to_owned(), 0)).collect();
    for leak in leaks {
        *counts.entry(leak.kind.clone()).or_default() += 1;
    }
    counts
}

/// Those of `first` that are in `second` too.
pub fn in_both(mut first: Vec<Leak>, second: &[Leak]) -> Vec<Leak> {
    first.retain(|leak| second.contains(leak));
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(name: &str, owner: Option<u8>) -> Owned {
        let owner = owner.map(|byte| SandboxId::from_entropy([byte; 20]));
        Owned { kind: "netns", name: name.into(), owner }
    }

    #[test]
    fn what_belongs_to_the_living_is_no_leak_and_what_belongs_to_nobody_is() {
        let alive = SandboxId::from_entropy([1; 20]);
        let all = vec![owned("a", Some(1)), owned("b", Some(2)), owned("c", None)];
        let names: Vec<_> = of(all, |id| *id == alive).into_iter().map(|leak| leak.name).collect();
        assert_eq!(names, ["b", "c"]);
    }

    #[test]
    fn kinds_of_which_there_are_none_are_counted_too() {
        let counts = count(&of(vec![owned("a", Some(1)), owned("b", Some(2))], |_| false));
        assert_eq!((counts["netns"], counts["process"]), (2, 0));
    }

    #[test]
    fn what_was_on_its_way_out_is_no_leak() {
        let first = of(vec![owned("a", Some(1)), owned("b", Some(2))], |_| false);
        let second = of(vec![owned("b", Some(2))], |_| false);
        assert_eq!(in_both(first, &second), second);
    }
}
