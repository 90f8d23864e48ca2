//! Chooses the node of a new sandbox. Pure: it has never heard of HTTP, of a store or of time.

use wire::id::NodeId;
use wire::node::Capacity;

/// A node a sandbox could go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which node.
    pub id: NodeId,
    /// What it can hold.
    pub capacity: Capacity,
    /// What the store has promised of it.
    pub promised: Capacity,
    /// Whether the image is there.
    pub has_image: bool,
}

/// Why no node was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no node.
    NoNode,
    /// None has the image.
    NoImage,
    /// Those that have it are full.
    Full,
}

/// The node with the image that will have the largest share of its memory free; ties go to the lower id.
pub fn place(wanted: &Capacity, candidates: &[Candidate]) -> Result<NodeId, Refusal> {
    if candidates.is_empty() {
        return Err(Refusal::NoNode);
    }
    let with_image = || candidates.iter().filter(|node| node.has_image);
    if with_image().next().is_none() {
        return Err(Refusal::NoImage);
    }
    let fitting = with_image().filter(|node| fits(wanted, node));
    fitting
        .min_by(|a, b| load(a).cmp(&load(b)).then_with(|| a.id.cmp(&b.id)))
        .map(|node| node.id.clone())
        .ok_or(Refusal::Full)
}

fn fits(wanted: &Capacity, node: &Candidate) -> bool {
    let Candidate { capacity, promised, .. } = node;
    promised.sandboxes.saturating_add(wanted.sandboxes) <= capacity.sandboxes
        && promised.vcpu.saturating_add(wanted.vcpu) <= capacity.vcpu
        && promised.memory_mib.saturating_add(wanted.memory_mib) <= capacity.memory_mib
}

/// The promised share of a node's memory, in millionths.
fn load(node: &Candidate) -> u128 {
    u128::from(node.promised.memory_mib) * 1_000_000 / u128::from(node.capacity.memory_mib.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::id::ENTROPY_BYTES;

    fn capacity(sandboxes: u32, vcpu: u32, memory_mib: u64) -> Capacity {
        Capacity { sandboxes, vcpu, memory_mib }
    }

    fn any_capacity() -> impl Strategy<Value = Capacity> {
        (0u32..20, 0u32..40, 0u64..20_000).prop_map(|(s, v, m)| capacity(s, v, m))
    }

    fn any_candidate() -> impl Strategy<Value = Candidate> {
        (any::<[u8; ENTROPY_BYTES]>(), any_capacity(), any_capacity(), any::<bool>()).prop_map(
            |(entropy, capacity, promised, has_image)| Candidate {
                id: NodeId::from_entropy(entropy),
                capacity,
                promised,
                has_image,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_chosen_fits_and_what_is_refused_fits_nowhere(
            wanted in any_capacity(),
            nodes in prop::collection::vec(any_candidate(), 0..6),
        ) {
            let usable: Vec<_> = nodes.iter().filter(|n| n.has_image && fits(&wanted, n)).collect();
            match place(&wanted, &nodes) {
                Ok(id) => prop_assert!(usable.iter().any(|n| n.id == id)),
                Err(Refusal::Full) => {
                    prop_assert!(usable.is_empty());
                    prop_assert!(nodes.iter().any(|n| n.has_image));
                }
                Err(Refusal::NoImage) => prop_assert!(nodes.iter().all(|n| !n.has_image) && !nodes.is_empty()),
                Err(Refusal::NoNode) => prop_assert!(nodes.is_empty()),
            }
        }

        #[test]
        fn the_order_of_the_nodes_does_not_matter(
            wanted in any_capacity(),
            nodes in prop::collection::vec(any_candidate(), 0..6),
        ) {
            let mut turned = nodes.clone();
            turned.reverse();
            prop_assert_eq!(place(&wanted, &nodes), place(&wanted, &turned));
        }
    }

    #[test]
    fn the_emptier_node_is_chosen() {
        let node = |seed, memory_mib| Candidate {
            id: NodeId::from_entropy([seed; ENTROPY_BYTES]),
            capacity: capacity(10, 10, 10_000),
            promised: capacity(1, 1, memory_mib),
            has_image: true,
        };
        let (busy, calm) = (node(1, 5000), node(2, 1000));
        assert_eq!(place(&capacity(1, 1, 512), &[busy, calm.clone()]), Ok(calm.id));
    }
}
