//! Connections that have become WebSockets: so many, and told when the server stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// WebSockets at once.
const SOCKETS_MAX: u32 = 2048;

/// All of them.
pub struct Sockets {
    places: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

/// A place for one, given back with this value.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    closing: watch::Receiver<bool>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(SOCKETS_MAX as usize)), closing: watch::Sender::new(false) }
    }
}

impl Sockets {
    /// A place, if one is free and the server goes on.
    pub fn place(&self) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        Some(Place { _permit: permit, closing: self.closing.subscribe() })
    }

    /// Tells all of them that the server stops.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Waits until the server stops: for streams that would not end by themselves.
    pub async fn closing(&self) {
        // The sender is in `self`, so it cannot go away.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Waits until they are gone, so long at most. False if some are not.
    pub async fn gone(&self, bound: Duration) -> bool {
        tokio::time::timeout(bound, self.places.acquire_many(SOCKETS_MAX)).await.is_ok()
    }
}

impl Place {
    /// Waits until the server stops.
    pub async fn closing(&mut self) {
        // Its sender is the server's own; gone, it has stopped.
        let _ = self.closing.wait_for(|closing| *closing).await;
    }
}
