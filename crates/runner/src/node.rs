//! What all tasks of a node share.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use artifact::Images;
use engine::Engine;
use engine::steps::Faults;
use tokio::sync::{Semaphore, broadcast};
use wire::clock::Clock;
use wire::image::Digest;
use wire::node::{NodeError, NodeErrorCode, Observed};

use crate::sandbox::record::Records;
use crate::{Config, supervisor};

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
    /// A sandbox dozes when nobody has talked to it for so long; `None`: never.
    pub doze_after: Option<Duration>,
    /// Pauses that tests ask for.
    pub faults: Faults,
    changes: broadcast::Sender<Observed>,
}

impl Node {
    /// Puts together what tasks share; the rest of `config` is not theirs.
    ///
    /// # Errors
    /// When the records cannot be opened or the host's boot cannot be told.
    pub fn open(config: Config) -> io::Result<Self> {
        let (changes, _) = broadcast::channel(CHANGES_BACKLOG_MAX);
        Ok(Self {
            engine: config.engine,
            images: config.images,
            records: Records::open(config.records_dir)?,
            clock: config.clock,
            boot_id: supervisor::boot_id()?,
            bring_ups: Semaphore::new(config.bring_ups_max),
            doze_after: config.doze_after,
            faults: config.faults,
            changes,
        })
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
