//! What all tasks of a node share.

use std::path::PathBuf;
use std::sync::Arc;

use artifact::Images;
use engine::Engine;
use tokio::sync::{Semaphore, broadcast};
use wire::clock::Clock;
use wire::image::Digest;
use wire::node::{NodeError, NodeErrorCode, Observed};

use crate::sandbox::record::Records;

/// Changes a slow listener may lag behind before its stream is ended.
const CHANGES_BACKLOG_MAX: usize = 4096;

/// What all tasks of a node share.
pub struct Node {
    /// Makes and ends machines.
    pub engine: Engine,
    /// What sandboxes start from.
    pub images: Images,
    /// What is remembered across restarts.
    pub records: Records,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The current boot of the host.
    pub boot_id: String,
    /// Bring-ups at once: more only makes each slower.
    pub bring_ups: Semaphore,
    changes: broadcast::Sender<Observed>,
}

impl Node {
    /// Puts together what tasks share.
    pub fn new(
        engine: Engine,
        images: Images,
        records: Records,
        clock: Arc<dyn Clock>,
        boot_id: String,
        bring_ups_max: usize,
    ) -> Self {
        let (changes, _) = broadcast::channel(CHANGES_BACKLOG_MAX);
        Self { engine, images, records, clock, boot_id, bring_ups: Semaphore::new(bring_ups_max), changes }
    }

    /// Tells all listeners what a sandbox has become.
    pub fn changed(&self, observed: Observed) {
        // Nobody listening is no failure: whoever comes later is told everything first.
        let _ = self.changes.send(observed);
    }

    /// What sandboxes become from now on.
    pub fn changes(&self) -> broadcast::Receiver<Observed> {
        self.changes.subscribe()
    }

    /// The file of an image.
    ///
    /// # Errors
    /// [`NodeErrorCode::NotFound`] when this node does not have it.
    pub fn image(&self, digest: &Digest) -> Result<PathBuf, NodeError> {
        match self.images.get(digest) {
            Some(image) => Ok(image.path),
            None => Err(NodeError::new(NodeErrorCode::NotFound, format!("this node has no image {digest}"))),
        }
    }
}
