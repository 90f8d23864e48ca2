//! How much a template's sandboxes get: quantities, and the whole numbers they become. Pure.
//!
//! Nobody gets less than they asked for: memory is rounded up to an even number of MiB, disk to a whole one, CPU to
//! whole vCPUs, and each to the least there is.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};
use wire::sandbox::limits;

use super::super::super::super::fields::Fields;
use super::super::quantity::Quantity;

/// Memory for which there is one vCPU, in MiB, where a template does not say how many.
const MEMORY_MIB_PER_VCPU: u32 = 4096;

/// What a template's sandboxes get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    pub vcpu: Option<u32>,
    pub memory: Option<u32>,
    pub disk: Option<u32>,
}

impl Resources {
    /// Those of a `resources` object that was found to be right.
    pub fn of(object: &Map<String, Value>) -> Self {
        let quantity = |name: &str| object.get(name)?.as_str()?.parse::<Quantity>().ok();
        let memory = quantity("memory").map(memory_mib);
        let share = |memory: u32| memory.div_ceil(MEMORY_MIB_PER_VCPU);
        Self {
            vcpu: quantity("cpu").map(|it| at_least(it.in_whole(), limits::VCPU)).or(memory.map(share)),
            memory,
            disk: quantity("ephemeralStorage").filter(|it| *it > Quantity::ZERO).map(disk_mib),
        }
    }
}

fn memory_mib(quantity: Quantity) -> u32 {
    at_least(quantity.in_mib().saturating_add(1) & !1, limits::MEMORY_MIB)
}

fn disk_mib(quantity: Quantity) -> u32 {
    at_least(quantity.in_mib(), limits::DISK_MIB)
}

fn at_least(number: u32, range: RangeInclusive<u32>) -> u32 {
    number.max(*range.start())
}

/// Reads a `resources` object; what is more than there is goes to `beyond`.
pub fn read(fields: &mut Fields, beyond: &mut Vec<String>) {
    let is_there = fields.has("memory");
    let memory = quantity(fields, "memory");
    if !is_there {
        fields.wrong("memory", "is required");
    }
    let cpu = quantity(fields, "cpu");
    let disk = quantity(fields, "ephemeralStorage");
    for (name, given) in [("memory", memory), ("cpu", cpu)] {
        if given.is_some_and(|it| it <= Quantity::ZERO) {
            fields.wrong(name, "must be more than 0");
        }
    }
    if disk.is_some_and(|it| it < Quantity::ZERO) {
        fields.wrong("ephemeralStorage", "must not be less than 0");
    }
    let most = [
        ("memory", memory, Quantity::mib(*limits::MEMORY_MIB.end())),
        ("cpu", cpu, Quantity::whole(*limits::VCPU.end())),
        ("ephemeralStorage", disk, Quantity::mib(*limits::DISK_MIB.end())),
    ];
    for (name, given, most) in most {
        if given.is_some_and(|it| it > most) {
            beyond.push(format!(
                "spec.mainContainer.resources.{name} is more than this platform gives, which is {most}"
            ));
        }
    }
}

fn quantity(fields: &mut Fields, name: &str) -> Option<Quantity> {
    let quantity = fields.string(name)?.parse().ok();
    if quantity.is_none() {
        fields.wrong(name, "must be a quantity, such as \"500m\", \"2\" or \"2Gi\"");
    }
    quantity
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(object: Value, expect: (Option<u32>, Option<u32>, Option<u32>)) {
        let Resources { vcpu, memory, disk } = Resources::of(object.as_object().unwrap());
        assert_eq!((vcpu, memory, disk), expect, "{object}");
    }

    #[test]
    fn nobody_gets_less_than_they_asked_for() {
        check(json!({"memory": "2Gi", "cpu": "1"}), (Some(1), Some(2048), None));
        check(json!({"memory": "1G", "cpu": "500m"}), (Some(1), Some(954), None));
        check(json!({"memory": "1001Mi", "cpu": "2.1"}), (Some(3), Some(1002), None));
        check(json!({"memory": "128Mi", "ephemeralStorage": "1Mi"}), (Some(1), Some(512), Some(256)));
        check(json!({"memory": "1Gi", "ephemeralStorage": "8Gi"}), (Some(1), Some(1024), Some(8192)));
        check(json!({"memory": "1Gi", "ephemeralStorage": "0"}), (Some(1), Some(1024), None));
        check(json!({}), (None, None, None));
    }

    #[test]
    fn without_a_cpu_there_is_one_for_each_four_gib() {
        check(json!({"memory": "4Gi"}), (Some(1), Some(4096), None));
        check(json!({"memory": "8Gi"}), (Some(2), Some(8192), None));
    }
}
