//! From a source to an image on this disk.
//!
//! First an image is resolved: its manifest and configuration are read, with the caller's own credentials, every time.
//! What it is made of is then fetched and unpacked once, however many ask ([`flight`]), and goes on if nobody listens;
//! for each of them the registry is asked whether he may have it.
//! Layers come several at a time and are unpacked in order, each while it comes ([`make`]).

mod flight;
mod make;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use wire::image::Digest;
use wire::node::{BuiltImage, PullEvent, PullFailure, PullImage, ResolvedImage};

use self::flight::{State, ended};
use crate::blob::Blobs;
use crate::oci::Settings;
use crate::oci::registry::Registries;
use crate::prune::{self, Taken};
use crate::source::{Origin, Resolved};
use crate::{Error, Images, Result};

/// Images made at once by a node; more wait. Each takes a processor to unpack.
const PULLS_MAX: usize = 4;
/// Times that an image is asked for again because others who asked for it failed.
const FOLLOWED_MAX: usize = 3;

/// Pulls images for one node. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Puller(Arc<Shared>);

struct Shared {
    images: Images,
    blobs: Blobs,
    registries: Registries,
    /// The program that unpacks, and its arguments.
    unpacker: Vec<OsString>,
    queue: Semaphore,
    flights: Mutex<HashMap<Key, watch::Receiver<State>>>,
}

/// A manifest, and where it comes from: others that have it may be slow, or lie.
type Key = (Digest, String);

impl Puller {
    /// Pulls into these images. `unpacker` is a program, with arguments, that becomes
    /// [`crate::rootfs::layers::child::main`].
    ///
    /// # Errors
    /// When the settings cannot be used, or the disk refuses.
    pub fn open(images: Images, settings: Settings, unpacker: Vec<OsString>) -> Result<Self> {
        let registries =
            Registries::new(Arc::new(settings)).map_err(|problem| Error::Registries { problem })?;
        let shared = Shared {
            blobs: Blobs::open(&images)?,
            images,
            registries,
            unpacker,
            queue: Semaphore::new(PULLS_MAX),
            flights: Mutex::default(),
        };
        Ok(Self(Arc::new(shared)))
    }

    /// What an order's image is: its manifest and configuration are read and verified, and no layer is fetched.
    ///
    /// # Errors
    /// As [`Puller::pull`].
    pub async fn resolve(&self, order: &PullImage) -> std::result::Result<ResolvedImage, PullFailure> {
        let origin = Origin::of(order, &self.0.registries).await?;
        Ok(origin.resolve(&self.0.registries).await?.image)
    }

    /// Takes away images that are not needed and have been idle for so long, and layers that no image has which is left;
    /// or says which those would be.
    ///
    /// # Errors
    /// When the disk refuses; what was taken away until then goes all the same.
    pub fn take_away(&self, needed: &BTreeSet<Digest>, idle_min: Duration, dry_run: bool) -> Result<Taken> {
        prune::take_away(&self.0.images, &self.0.blobs, needed, idle_min, dry_run)
    }

    /// Pulls an image, and tells how it goes: that it is resolved, and its progress. Dropped, it goes on.
    ///
    /// # Errors
    /// When there is no such image, its registry does not let it be read, or it is not what an image should be.
    pub async fn pull(
        &self,
        order: &PullImage,
        tell: impl Fn(PullEvent),
    ) -> std::result::Result<BuiltImage, PullFailure> {
        let origin = Arc::new(Origin::of(order, &self.0.registries).await?);
        let resolved = origin.resolve(&self.0.registries).await?;
        tell(PullEvent::Resolved(resolved.image.clone()));
        for followed in 1.. {
            let (state, is_ours) = self.join(&origin, &resolved);
            let mut outcome = ended(state, &tell).await;
            if outcome.is_ok() && !is_ours {
                outcome = make::check_may_have(&self.0, &origin, &resolved).await.and(outcome);
            }
            // Others may have asked with credentials that are good for less.
            if outcome.is_ok() || is_ours || followed == FOLLOWED_MAX {
                let config = resolved.image.config.clone();
                return outcome.map(|built| BuiltImage { config, ..built });
            }
        }
        unreachable!("the last follower returns")
    }

    /// The making of this image that is under way, or a new one, and whether it is new.
    fn join(&self, origin: &Arc<Origin>, resolved: &Resolved) -> (watch::Receiver<State>, bool) {
        let key = (resolved.image.digest.clone(), origin.key());
        let mut flights = self.0.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = flights.get(&key) {
            return (state.clone(), false);
        }
        let (sender, state) = watch::channel(State::new(resolved.image.layer_bytes));
        flights.insert(key.clone(), state.clone());
        let (this, origin, resolved) = (self.clone(), origin.clone(), resolved.clone());
        tokio::spawn(async move {
            let listed = Listed { puller: &this, key };
            let outcome = make::make(&this.0, &origin, &resolved, &sender).await;
            // Whoever hears how it ended and asks again must not be told the same.
            drop(listed);
            sender.send_modify(|state| state.outcome = Some(outcome));
        });
        (state, true)
    }
}

/// The entry of a making that is under way. Gone when that ends, however it does.
struct Listed<'a> {
    puller: &'a Puller,
    key: Key,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.puller.0.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
