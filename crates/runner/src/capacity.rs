//! What a node can hold, and whether one more fits. Pure.

use wire::node::{Capacity, NodeError, NodeErrorCode, SandboxSpec};

/// What one sandbox takes.
pub fn demand(spec: &SandboxSpec) -> Capacity {
    Capacity { sandboxes: 1, vcpu: spec.resources.vcpu, memory_mib: u64::from(spec.resources.memory_mib) }
}

/// The sum of two amounts.
pub fn plus(a: Capacity, b: Capacity) -> Capacity {
    Capacity {
        sandboxes: a.sandboxes.saturating_add(b.sandboxes),
        vcpu: a.vcpu.saturating_add(b.vcpu),
        memory_mib: a.memory_mib.saturating_add(b.memory_mib),
    }
}

/// Whether `demand` fits beside what is `used`.
///
/// # Errors
/// [`NodeErrorCode::NoCapacity`], saying what there is too little of.
pub fn admit(capacity: Capacity, used: Capacity, demand: Capacity) -> Result<(), NodeError> {
    let wanted = plus(used, demand);
    let lacks = [
        ("sandboxes", u64::from(wanted.sandboxes), u64::from(capacity.sandboxes)),
        ("vCPUs", u64::from(wanted.vcpu), u64::from(capacity.vcpu)),
        ("MiB of memory", wanted.memory_mib, capacity.memory_mib),
    ];
    match lacks.into_iter().find(|(_, wanted, held)| wanted > held) {
        None => Ok(()),
        Some((what, wanted, held)) => Err(NodeError::new(
            NodeErrorCode::NoCapacity,
            format!(
                "the node holds {held} {what} and this would make {wanted}; delete a sandbox or try later"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Capacity = Capacity { sandboxes: 10, vcpu: 8, memory_mib: 4096 };

    #[test]
    fn what_fits_exactly_is_admitted() {
        let used = Capacity { sandboxes: 9, vcpu: 7, memory_mib: 3072 };
        assert!(admit(NODE, used, Capacity { sandboxes: 1, vcpu: 1, memory_mib: 1024 }).is_ok());
    }

    #[test]
    fn a_refusal_names_what_there_is_too_little_of() {
        for (demand, lack) in [
            (Capacity { sandboxes: 11, vcpu: 1, memory_mib: 1 }, "sandboxes"),
            (Capacity { sandboxes: 1, vcpu: 9, memory_mib: 1 }, "vCPUs"),
            (Capacity { sandboxes: 1, vcpu: 1, memory_mib: 4097 }, "memory"),
        ] {
            let refusal = admit(NODE, Capacity::default(), demand).unwrap_err();
            assert_eq!(refusal.code, NodeErrorCode::NoCapacity);
            assert!(refusal.message.contains(lack), "{}", refusal.message);
        }
    }
}
