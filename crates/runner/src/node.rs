//! What all tasks of a node share.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifact::Images;
use artifact::pull::Puller;
use engine::Engine;
use engine::steps::Faults;
use tokio::sync::{Semaphore, broadcast};
use wire::clock::Clock;
use wire::image::Digest;
use wire::node::{NodeError, NodeErrorCode, Observed};

use crate::room::Room;
use crate::sandbox::pulse::Pulse;
use crate::sandbox::record::Records;
use crate::sandbox::scribe::Scribe;
use crate::vault::Vault;
use crate::{Config, supervisor};

/// Changes a slow listener may lag behind before its stream is ended.
const CHANGES_BACKLOG_MAX: usize = 4096;

/// Sandboxes of an earlier process that are taken down at once.
const BURIALS_MAX: usize = 4;

/// What all tasks of a node share.
pub struct Node {
    /// Makes and ends machines.
    pub engine: Engine,
    /// What sandboxes start from.
    pub images: Images,
    /// What fetches more of them.
    pub puller: Puller,
    /// What is remembered across restarts.
    pub records: Records,
    /// Who writes it down.
    pub scribe: Scribe,
    /// What sandboxes were that are paused, and snapshots of them.
    pub vault: Arc<Vault>,
    /// What this host's processor can do.
    pub cpu_features: Vec<String>,
    /// How much more can be written.
    pub room: Room,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The current boot of the host.
    pub boot_id: String,
    /// Bring-ups at once: more only makes each slower.
    pub bring_ups: Semaphore,
    /// A sandbox dozes when nobody has talked to it for so long; `None`: never.
    pub doze_after: Option<Duration>,
    /// When an agent that says nothing is lost.
    pub pulse: Pulse,
    /// Pauses that tests ask for.
    pub faults: Faults,
    /// Sandboxes of an earlier process that are taken down at once: others want to be served meanwhile.
    pub burials: Semaphore,
    /// What nobody owned at the last look: so many of each kind.
    leaks: Mutex<BTreeMap<String, u64>>,
    changes: broadcast::Sender<Observed>,
}

impl Node {
    /// Puts together what tasks share; the rest of `config` is not theirs.
    ///
    /// # Errors
    /// When the records cannot be opened or the host's boot cannot be told.
    pub fn open(config: Config) -> io::Result<Self> {
        let (changes, _) = broadcast::channel(CHANGES_BACKLOG_MAX);
        let room = Room::new(config.records_dir.clone(), config.disk_reserve_mib);
        let records = Records::open(config.records_dir)?;
        Ok(Self {
            engine: config.engine,
            images: config.images,
            scribe: Scribe::of(records.clone())?,
            records,
            vault: Arc::new(Vault::open(config.plain_dir, config.snapshots)?),
            cpu_features: engine::probe::cpu_features(),
            room,
            puller: config.puller,
            clock: config.clock,
            boot_id: supervisor::boot_id()?,
            bring_ups: Semaphore::new(config.bring_ups_max),
            doze_after: config.doze_after,
            pulse: config.pulse,
            faults: config.faults,
            burials: Semaphore::new(BURIALS_MAX),
            leaks: Mutex::default(),
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

    /// What nobody owned at the last look: so many of each kind.
    pub fn leaks(&self) -> BTreeMap<String, u64> {
        self.leaks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers what nobody owns now.
    pub fn saw_leaks(&self, leaks: BTreeMap<String, u64>) {
        *self.leaks.lock().unwrap_or_else(PoisonError::into_inner) = leaks;
    }

    /// The file of an image, which somebody is about to use.
    ///
    /// # Errors
    /// [`NodeErrorCode::NotFound`] when this node does not have it.
    pub fn image(&self, digest: &Digest) -> Result<PathBuf, NodeError> {
        match self.images.get(digest) {
            Some(image) => {
                image.touch();
                Ok(image.path)
            }
            None => Err(NodeError::new(NodeErrorCode::NotFound, format!("this node has no image {digest}"))),
        }
    }
}
