//! What one process has said lately: numbered pieces, the oldest forgotten first. Pure.
//!
//! Bytes stand one after the other, beside a list of lengths, so that what is
//! kept is in proportion to its size however small the pieces are. Room is
//! taken as it is needed.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use wire::guest::frame::{Channel, DATA_BYTES_MAX};
use wire::guest::process::KEPT_BYTES_MAX;

/// What a piece costs beside its bytes, in bytes.
pub const PIECE_BYTES: usize = size_of::<Piece>();

/// A piece's length, and the channel in the highest bit.
#[derive(Clone, Copy)]
struct Piece(u32);

const STDERR_BIT: u32 = 1 << 31;

const _: () = assert!(DATA_BYTES_MAX < STDERR_BIT as usize);

/// See the module.
#[derive(Default)]
pub struct Ring {
    bytes: VecDeque<u8>,
    pieces: VecDeque<Piece>,
    /// The number of the oldest piece.
    first: u64,
    /// Bytes forgotten so far.
    gone: u64,
}

/// A place between two pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The number of the piece after it.
    pub piece: u64,
    /// Bytes of all pieces before it.
    at: u64,
}

impl Ring {
    /// The oldest piece that is kept; [`Ring::next`] if none is.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The piece that comes next.
    pub fn next(&self) -> u64 {
        self.first + self.pieces.len() as u64
    }

    /// What all of it costs, in bytes.
    pub fn cost(&self) -> usize {
        self.bytes.len() + self.pieces.len() * PIECE_BYTES
    }

    /// What the pieces from here on cost, in bytes.
    pub fn cost_from(&self, cursor: Cursor) -> usize {
        let end = self.gone + self.bytes.len() as u64;
        let pieces = self.next().saturating_sub(cursor.piece) as usize;
        end.saturating_sub(cursor.at) as usize + pieces * PIECE_BYTES
    }

    /// Keeps a piece of [`DATA_BYTES_MAX`] bytes at most.
    pub fn push(&mut self, channel: Channel, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > self.bytes.capacity() {
            // Twice as much each time, but not twice the most that is kept.
            let doubled = (2 * self.bytes.len()).min(KEPT_BYTES_MAX).max(self.bytes.len() + bytes.len());
            self.bytes.reserve_exact(doubled - self.bytes.len());
        }
        self.bytes.extend(bytes);
        let bit = if channel == Channel::Stderr { STDERR_BIT } else { 0 };
        self.pieces.push_back(Piece(bytes.len() as u32 | bit));
    }

    /// Forgets the oldest piece.
    pub fn forget_first(&mut self) {
        if let Some(piece) = self.pieces.pop_front() {
            self.bytes.drain(..piece.length());
            self.first += 1;
            self.gone += piece.length() as u64;
        }
    }

    /// The place before this piece; before the oldest that is kept, if it is forgotten; at the end, if it has not come yet.
    pub fn cursor(&self, piece: u64) -> Cursor {
        let piece = piece.clamp(self.first, self.next());
        let before = self.pieces.iter().take((piece - self.first) as usize);
        Cursor { piece, at: self.gone + before.map(|piece| piece.length() as u64).sum::<u64>() }
    }

    /// The length of the piece after the cursor, if it is there.
    pub fn length(&self, cursor: Cursor) -> Option<usize> {
        self.piece(cursor).map(Piece::length)
    }

    /// The piece after the cursor, if it is there, and the place behind it.
    pub fn take(&self, cursor: Cursor) -> Option<(Channel, Bytes, Cursor)> {
        let piece = self.piece(cursor)?;
        let (start, length) = ((cursor.at - self.gone) as usize, piece.length());
        let mut bytes = BytesMut::with_capacity(length);
        let (front, back) = self.bytes.as_slices();
        let split = front.len();
        let in_front = start.min(split)..(start + length).min(split);
        let in_back = start.saturating_sub(split)..(start + length).saturating_sub(split);
        bytes.extend_from_slice(&front[in_front]);
        bytes.extend_from_slice(&back[in_back]);
        let behind = Cursor { piece: cursor.piece + 1, at: cursor.at + length as u64 };
        Some((piece.channel(), bytes.freeze(), behind))
    }

    /// The last bytes of all pieces together; so many, or all that are kept.
    pub fn last_bytes(&self, bytes_max: usize) -> Vec<u8> {
        self.bytes.range(self.bytes.len().saturating_sub(bytes_max)..).copied().collect()
    }

    /// Gives back the room that is not used.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.pieces.shrink_to_fit();
    }

    fn piece(&self, cursor: Cursor) -> Option<Piece> {
        let index = cursor.piece.checked_sub(self.first)?;
        self.pieces.get(usize::try_from(index).ok()?).copied()
    }
}

impl Piece {
    fn length(self) -> usize {
        (self.0 & !STDERR_BIT) as usize
    }

    fn channel(self) -> Channel {
        if self.0 & STDERR_BIT == 0 { Channel::Stdout } else { Channel::Stderr }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_forgotten_piece_is_the_oldest_and_one_to_come_is_the_end() {
        let mut ring = Ring::default();
        for byte in 0..5u8 {
            ring.push(Channel::Stdout, &[byte; 3]);
        }
        ring.forget_first();
        ring.forget_first();
        assert_eq!((ring.first(), ring.next()), (2, 5));
        assert_eq!(ring.cursor(0), ring.cursor(2));
        assert_eq!(ring.cursor(99).piece, 5);
        assert!(ring.take(ring.cursor(99)).is_none());
        assert_eq!(ring.cost_from(ring.cursor(4)), 3 + PIECE_BYTES);
        assert_eq!(ring.cost_from(ring.cursor(0)), ring.cost());
    }

    #[test]
    fn single_bytes_cost_little_more_than_themselves() {
        let mut ring = Ring::default();
        while ring.cost() < KEPT_BYTES_MAX {
            ring.push(Channel::Stderr, b"x");
        }
        assert!(ring.bytes.capacity() + ring.pieces.capacity() * PIECE_BYTES <= 2 * KEPT_BYTES_MAX);
    }

    #[test]
    fn room_is_taken_as_it_is_needed() {
        let mut ring = Ring::default();
        ring.push(Channel::Stdout, b"a little");
        assert!(ring.bytes.capacity() < 100);
        for _ in 0..100 {
            ring.push(Channel::Stdout, &[0; DATA_BYTES_MAX]);
            while ring.cost() > KEPT_BYTES_MAX {
                ring.forget_first();
            }
        }
        assert!(ring.bytes.capacity() <= KEPT_BYTES_MAX + DATA_BYTES_MAX, "{}", ring.bytes.capacity());
    }

    proptest! {
        #[test]
        fn pieces_come_back_as_they_went_in(
            pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 1..200)), 0..60),
            kept in 1usize..3000,
        ) {
            let channel = |is_stderr: bool| if is_stderr { Channel::Stderr } else { Channel::Stdout };
            let mut ring = Ring::default();
            for (is_stderr, bytes) in &pieces {
                ring.push(channel(*is_stderr), bytes);
                while ring.cost() > kept {
                    ring.forget_first();
                }
            }
            prop_assert_eq!(ring.next(), pieces.len() as u64);
            let mut cursor = ring.cursor(0);
            for (number, (is_stderr, bytes)) in pieces.iter().enumerate().skip(ring.first() as usize) {
                prop_assert_eq!(ring.cursor(number as u64), cursor);
                prop_assert_eq!(ring.length(cursor), Some(bytes.len()));
                let (found, said, behind) = ring.take(cursor).unwrap();
                prop_assert_eq!((found, &said[..]), (channel(*is_stderr), &bytes[..]));
                cursor = behind;
            }
            prop_assert!(ring.take(cursor).is_none());
        }
    }
}
