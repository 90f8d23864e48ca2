//! Data that arrived on a stream and was not taken yet.

use std::cell::{Cell, RefCell};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use wire::guest::frame::{DATA_BYTES_MAX, INITIAL_CREDIT_BYTES};

/// What the node sends on a stream. Holds no more bytes than the node was granted.
pub struct Inbox {
    bytes: RefCell<BytesMut>,
    delivered: Cell<u64>,
    granted: Cell<u64>,
    ended: Cell<bool>,
    arrived: Notify,
}

/// The node sent what it may not: more than it was granted, or anything after its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Trespass;

impl Inbox {
    /// Empty, with what every stream is granted at first.
    pub fn new() -> Self {
        Self {
            bytes: RefCell::default(),
            delivered: Cell::new(0),
            granted: Cell::new(u64::from(INITIAL_CREDIT_BYTES)),
            ended: Cell::new(false),
            arrived: Notify::new(),
        }
    }

    /// Keeps bytes that arrived.
    pub fn deliver(&self, bytes: &[u8]) -> Result<(), Trespass> {
        let left = self.granted.get().checked_sub(bytes.len() as u64).ok_or(Trespass)?;
        if self.ended.get() {
            return Err(Trespass);
        }
        self.granted.set(left);
        self.delivered.set(self.delivered.get() + bytes.len() as u64);
        self.bytes.borrow_mut().extend_from_slice(bytes);
        self.arrived.notify_one();
        Ok(())
    }

    /// No more will arrive.
    pub fn end(&self) {
        self.ended.set(true);
        self.arrived.notify_one();
    }

    /// Waits for bytes and takes some; `None` at the end. One task takes.
    pub async fn take(&self) -> Option<Bytes> {
        loop {
            let arrived = self.arrived.notified();
            if let Some(bytes) = self.take_now() {
                return Some(bytes);
            }
            if self.ended.get() {
                return None;
            }
            arrived.await;
        }
    }

    /// Takes all that has arrived, without waiting for more. True if no more will arrive.
    pub fn take_rest(&self) -> (Bytes, bool) {
        (std::mem::take(&mut *self.bytes.borrow_mut()).freeze(), self.ended.get())
    }

    /// How many bytes have arrived since the beginning.
    pub fn delivered(&self) -> u64 {
        self.delivered.get()
    }

    /// The other side was granted so much more.
    pub fn grant(&self, bytes: u32) {
        self.granted.set(self.granted.get().saturating_add(u64::from(bytes)));
    }

    fn take_now(&self) -> Option<Bytes> {
        let mut bytes = self.bytes.borrow_mut();
        let length = bytes.len().min(DATA_BYTES_MAX);
        (length > 0).then(|| bytes.split_to(length).freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_was_granted_is_a_trespass() {
        let inbox = Inbox::new();
        let piece = [0; DATA_BYTES_MAX];
        for _ in 0..INITIAL_CREDIT_BYTES as usize / DATA_BYTES_MAX {
            inbox.deliver(&piece).unwrap();
        }
        assert_eq!(inbox.deliver(&[0]), Err(Trespass));
        inbox.grant(1);
        assert_eq!(inbox.deliver(&[0]), Ok(()));
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let inbox = Inbox::new();
        inbox.end();
        assert_eq!(inbox.deliver(&[0]), Err(Trespass));
    }
}
