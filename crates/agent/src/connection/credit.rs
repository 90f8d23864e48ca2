//! How much a side may still send.

use std::cell::Cell;

use tokio::sync::Notify;
use wire::guest::frame::INITIAL_CREDIT_BYTES;

/// Data bytes this side may send on a stream.
pub struct Credit {
    bytes: Cell<u64>,
    granted: Notify,
}

impl Credit {
    /// What every stream begins with.
    pub fn initial() -> Self {
        Self { bytes: Cell::new(u64::from(INITIAL_CREDIT_BYTES)), granted: Notify::new() }
    }

    /// The other side may be sent so much more.
    pub fn grant(&self, bytes: u32) {
        self.bytes.set(self.bytes.get().saturating_add(u64::from(bytes)));
        self.granted.notify_waiters();
    }

    /// Waits until so much may be sent.
    pub async fn at_least(&self, bytes: u64) {
        loop {
            // Before the look, so that a grant after it is not missed.
            let granted = self.granted.notified();
            if self.bytes.get() >= bytes {
                return;
            }
            granted.await;
        }
    }

    /// What may be sent now.
    pub fn now(&self) -> u64 {
        self.bytes.get()
    }

    /// So much was sent.
    pub fn spend(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_sub(bytes as u64));
    }
}
