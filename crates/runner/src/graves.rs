//! The sandboxes that were deleted lately, so that an order that was long on
//! its way does not bring one back. Pure.
//!
//! It need not outlive the process: an order on its way to it does not either.

use std::collections::VecDeque;

use wire::id::SandboxId;

/// How many are remembered.
const GRAVES_MAX: usize = 4096;

/// Each with the newest generation seen of it.
#[derive(Debug, Default)]
pub struct Graves(VecDeque<(SandboxId, u64)>);

impl Graves {
    /// This one was deleted, by an order of this generation.
    pub fn dig(&mut self, id: &SandboxId, generation: u64) {
        let generation = self.newest(id).map_or(generation, |newest| newest.max(generation));
        self.0.retain(|(known, _)| known != id);
        if self.0.len() == GRAVES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id.clone(), generation));
    }

    /// The newest generation seen of a sandbox that was deleted lately.
    pub fn newest(&self, id: &SandboxId) -> Option<u64> {
        self.0.iter().rev().find(|(known, _)| known == id).map(|(_, generation)| *generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> SandboxId {
        let mut entropy = [0; wire::id::ENTROPY_BYTES];
        // A character of an id is five bits of a byte.
        [0, 5, 10].iter().zip(&mut entropy).for_each(|(shift, byte)| *byte = (number >> shift & 31) as u8);
        SandboxId::from_entropy(entropy)
    }

    #[test]
    fn the_newest_generation_is_remembered_whatever_the_order() {
        let mut graves = Graves::default();
        graves.dig(&id(1), 3);
        graves.dig(&id(1), 2);
        assert_eq!((graves.newest(&id(1)), graves.newest(&id(2))), (Some(3), None));
    }

    #[test]
    fn only_so_many_are_remembered_and_the_oldest_are_forgotten() {
        let mut graves = Graves::default();
        let numbers = 0..=GRAVES_MAX as u16;
        numbers.for_each(|number| graves.dig(&id(number), 1));
        assert_eq!(graves.0.len(), GRAVES_MAX);
        assert_eq!((graves.newest(&id(0)), graves.newest(&id(1))), (None, Some(1)));
    }
}
