//! Layers as their registries store them: fetched once, kept by their digest.
//!
//! A layer grows in a partial file, is hashed as it comes, and gets its name when the disk has all of it. Whoever wants
//! it meanwhile reads what is there already ([`tail`]); a broken connection or a killed node goes on where it was
//! ([`partial`]).
//!
//! One fetch of a layer from one registry is under way at a time, however many want it. Not one from all: a registry
//! that is slow, or lies, would make others' images wait or fail.
//!
//! A layer that is here is not for everybody who knows its digest. Its registry must have sent it to us once, as
//! anybody's registry can name a layer that it does not have; and must let whoever asks now have it, with his own
//! credentials.

mod fetch;
mod flight;
mod partial;
mod prune;
mod tail;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;
use wire::image::Digest;

pub(crate) use self::flight::Flight;
pub(crate) use self::tail::Tail;

use crate::oci::manifest::Layer;
use crate::oci::registry::{Repository, digest_of};
use crate::rootfs::erofs;
use crate::{Error, Images, Result, durable};

const PARTIAL_DIR: &str = "partial";
const FROM_DIR: &str = "from";
/// Layers fetched at once by a node.
const FETCHES_MAX: usize = 16;
/// Layers fetched at once for one image.
pub(crate) const FETCHES_MAX_PER_IMAGE: usize = 4;

/// The layers of one node. Cheap to clone; clones are the same layers.
#[derive(Clone)]
pub(crate) struct Blobs(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    turns: Arc<Semaphore>,
    flights: Mutex<HashMap<FlightKey, Weak<Flight>>>,
}

/// A layer, and the registry it comes from.
type FlightKey = (Digest, String);

/// How many a fetch waits for: those of its image, and those of the node.
#[derive(Clone)]
pub(crate) struct Turns {
    image: Arc<Semaphore>,
    node: Arc<Semaphore>,
}

impl Blobs {
    /// # Errors
    /// When their directory cannot be made.
    pub(crate) fn open(images: &Images) -> Result<Self> {
        let dir = images.blobs_dir();
        for inner in [PARTIAL_DIR, FROM_DIR] {
            durable::make_dir(&dir.join(inner))?;
        }
        let shared = Shared { dir, turns: Arc::new(Semaphore::new(FETCHES_MAX)), flights: Mutex::default() };
        Ok(Self(Arc::new(shared)))
    }

    /// The turns of one image.
    pub(crate) fn turns(&self) -> Turns {
        Turns { image: Arc::new(Semaphore::new(FETCHES_MAX_PER_IMAGE)), node: self.0.turns.clone() }
    }

    /// A layer that is here, or on its way, and whether it is so for the caller: what others' credentials cannot get
    /// is to be asked for again. Held, it comes; dropped by all who want it, it does not.
    pub(crate) fn get(&self, repository: &Repository, layer: &Layer, turns: &Turns) -> (Arc<Flight>, bool) {
        let key = (layer.digest.clone(), repository.registry().to_owned());
        let mut flights = self.0.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = flights.get(&key).and_then(Weak::upgrade)
            && !flight.has_failed()
        {
            return (flight, false);
        }
        let flight = Arc::new(Flight::start(self.clone(), repository.clone(), layer.clone(), turns.clone()));
        flights.insert(key, Arc::downgrade(&flight));
        (flight, true)
    }

    /// The file of a layer that is here, whole, if this registry has sent it.
    fn find_from(&self, layer: &Layer, registry: &str) -> Result<Option<File>> {
        if self.origin_path(&layer.digest, registry).exists() { self.find(layer) } else { Ok(None) }
    }

    /// Keeps in mind that this registry has sent a layer. Forgotten, it is asked to send it again.
    fn note_from(&self, digest: &Digest, registry: &str) -> Result<()> {
        let path = self.origin_path(digest, registry);
        File::create(&path).map(drop).map_err(Error::io("write", &path))
    }

    /// The file of a layer that is here, whole.
    fn find(&self, layer: &Layer) -> Result<Option<File>> {
        let path = self.path(&layer.digest);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(Error::io("open", &path))?,
        };
        let length = file.metadata().map_err(Error::io("look at", &path))?.len();
        // What has another length cannot be what its name says; it is replaced.
        Ok((length == layer.size_bytes).then_some(file))
    }

    /// Takes away a layer whose content is not what its name says. Whether that was so.
    pub(crate) fn remove_if_damaged(&self, layer: &Layer) -> Result<bool> {
        let path = self.path(&layer.digest);
        if !path.exists() || erofs::digest_of(&path)? == layer.digest {
            return Ok(false);
        }
        tracing::warn!(path = %path.display(), "a layer is damaged and is fetched again");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &path)(error)),
            _ => Ok(true),
        }
    }

    fn dir(&self) -> &Path {
        &self.0.dir
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.0.dir.join(digest.hex())
    }

    /// Where a layer grows that comes from there.
    fn partial_path(&self, digest: &Digest, registry: &str) -> PathBuf {
        self.0.dir.join(PARTIAL_DIR).join(coming_from(digest, registry))
    }

    /// What is there if a layer has come from there.
    fn origin_path(&self, digest: &Digest, registry: &str) -> PathBuf {
        self.0.dir.join(FROM_DIR).join(coming_from(digest, registry))
    }
}

/// A name for a layer and the registry it comes from.
fn coming_from(digest: &Digest, registry: &str) -> String {
    format!("{}-{}", digest.hex(), digest_of(registry.as_bytes()).hex())
}
