//! Layers become an image.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use wire::image::Digest;
use wire::node::{BuiltImage, PullFailure, PullPhase};

use super::Shared;
use super::flight::State;
use crate::blob::{Flight, Tail};
use crate::blocking::blocking;
use crate::layout::Draft;
use crate::oci::failure::{Pulled, internal, invalid, own, unreachable};
use crate::oci::manifest::Layer;
use crate::oci::registry::Repository;
use crate::rootfs::erofs;
use crate::rootfs::layers::{Compression, Limits, Unpacker};
use crate::source::{Layers, LocalLayer, Origin, Resolved};
use crate::{Error, Image};

/// An image has so long to be made, its turn included.
const BOUND: Duration = Duration::from_secs(6 * 60 * 60);
/// Times that an image is begun again because its layers turned out to be other than they seemed.
const ATTEMPTS_MAX: usize = 3;
/// How often progress is told.
const TELL_INTERVAL: Duration = Duration::from_millis(200);

/// Makes the image, or finds it made.
pub(super) async fn make(
    shared: &Shared,
    origin: &Origin,
    resolved: &Resolved,
    state: &watch::Sender<State>,
) -> Pulled<BuiltImage> {
    let manifest = &resolved.image.digest;
    if let Some(image) = shared.images.by_manifest(manifest) {
        check_may_have(shared, origin, resolved).await?;
        image.touch();
        return Ok(built(image, false));
    }
    let work = async {
        let _turn = shared.queue.acquire().await.map_err(|_| internal("the node is stopping"))?;
        attempts(shared, origin, resolved, state).await
    };
    let late = || unreachable(format!("the image was not there after {} hours", BOUND.as_secs() / 3600));
    let image = tokio::time::timeout(BOUND, work).await.map_err(|_| late())??;
    Ok(built(image, true))
}

/// Makes sure that an image that others had made is one that the caller could have made: he could get each layer.
pub(super) async fn check_may_have(shared: &Shared, origin: &Origin, resolved: &Resolved) -> Pulled<()> {
    for attempt in 1.. {
        let coming = Coming::begin(shared, origin, resolved);
        match coming.all_granted().await {
            Err(Stop::Again(_)) if attempt < ATTEMPTS_MAX => {}
            Err(Stop::Again(failure) | Stop::Final(failure)) => return Err(failure),
            Ok(()) => return Ok(()),
        }
    }
    std::unreachable!("the last attempt returns")
}

fn built(image: Image, built_now: bool) -> BuiltImage {
    BuiltImage { digest: image.digest, size_bytes: image.size_bytes, config: image.config, built_now }
}

/// Why an attempt made no image.
enum Stop {
    /// Another one may: a layer came anew, or was got by others.
    Again(PullFailure),
    Final(PullFailure),
}

impl From<PullFailure> for Stop {
    fn from(failure: PullFailure) -> Self {
        Self::Final(failure)
    }
}

async fn attempts(
    shared: &Shared,
    origin: &Origin,
    resolved: &Resolved,
    state: &watch::Sender<State>,
) -> Pulled<Image> {
    for attempt in 1.. {
        let coming = Coming::begin(shared, origin, resolved);
        let image = tokio::select! {
            image = from_layers(shared, resolved, &coming, state) => image,
            never = tell(&coming, state) => match never {},
        };
        match image {
            Ok(image) => return Ok(image),
            Err(Stop::Again(failure)) if attempt < ATTEMPTS_MAX => {
                tracing::info!("an image is begun again: {failure}");
            }
            Err(Stop::Again(failure) | Stop::Final(failure)) => return Err(failure),
        }
    }
    std::unreachable!("the last attempt returns")
}

/// The layers of an image, on their way.
struct Coming(Vec<Source>);

enum Source {
    Fetched(Fetched),
    Local(LocalLayer),
}

/// A layer that comes from a registry.
struct Fetched {
    flight: Arc<Flight>,
    repository: Repository,
    layer: Layer,
    is_ours: bool,
}

impl Fetched {
    /// What others fetch is theirs, unless the registry lets us have it too.
    async fn check_granted(&self) -> Pulled<()> {
        if self.is_ours { Ok(()) } else { self.repository.grants(&self.layer.digest).await }
    }

    /// Waits until it is here.
    async fn ended(&self) -> Result<(), Stop> {
        let failed = if self.is_ours { Stop::Final } else { Stop::Again };
        self.flight.ended().await.map_err(failed)
    }
}

impl Coming {
    fn begin(shared: &Shared, origin: &Origin, resolved: &Resolved) -> Self {
        let turns = shared.blobs.turns();
        match (&resolved.layers, origin) {
            (Layers::Registry(layers), Origin::Registry(repository, _)) => Self(
                layers
                    .iter()
                    .map(|layer| {
                        let (flight, is_ours) = shared.blobs.get(repository, layer, &turns);
                        let (repository, layer) = (Repository::clone(repository), layer.clone());
                        Source::Fetched(Fetched { flight, repository, layer, is_ours })
                    })
                    .collect(),
            ),
            (Layers::Local(layers), _) => Self(layers.iter().cloned().map(Source::Local).collect()),
            (Layers::Registry(_), _) => Self(vec![]),
        }
    }

    /// Waits until all are here, and the caller may have them.
    async fn all_granted(&self) -> Result<(), Stop> {
        for source in &self.0 {
            if let Source::Fetched(fetched) = source {
                fetched.check_granted().await?;
                fetched.ended().await?;
            }
        }
        Ok(())
    }

    fn bytes_done(&self) -> u64 {
        let done = |source: &Source| match source {
            Source::Fetched(fetched) => fetched.flight.watch().borrow().length,
            Source::Local(layer) => layer.done(),
        };
        self.0.iter().map(done).sum()
    }
}

/// Tells how many bytes are here, for as long as they come.
async fn tell(coming: &Coming, state: &watch::Sender<State>) -> std::convert::Infallible {
    let mut ticks = interval(TELL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let bytes_done = coming.bytes_done();
        state.send_if_modified(|state| {
            let is_news = state.progress.bytes_done != bytes_done;
            state.progress.bytes_done = bytes_done;
            is_news
        });
    }
}

async fn from_layers(
    shared: &Shared,
    resolved: &Resolved,
    coming: &Coming,
    state: &watch::Sender<State>,
) -> Result<Image, Stop> {
    let draft = shared.images.draft().map_err(|error| own(&error))?;
    let started = Unpacker::start(&shared.unpacker, &draft, Limits::default()).await;
    let mut unpacker = started.map_err(|error| own(&error))?;
    for (source, diff_id) in coming.0.iter().zip(&resolved.diff_ids) {
        apply(shared, &mut unpacker, source, diff_id).await?;
    }
    let tree = unpacker.finish().await.map_err(|error| unpacking(&error))?;
    state.send_modify(|state| {
        state.progress.phase = PullPhase::Packing;
        state.progress.bytes_done = state.progress.bytes_total;
    });
    let packed = erofs::pack(&tree, &draft.image_file(), erofs::Times::Kept).await;
    let digest = packed.map_err(|error| own(&error))?;
    Ok(install(shared, draft, digest, resolved).await?)
}

async fn apply(
    shared: &Shared,
    unpacker: &mut Unpacker,
    source: &Source,
    diff_id: &Digest,
) -> Result<(), Stop> {
    match source {
        Source::Local(layer) => {
            let applied = unpacker.apply(layer.read(), Compression::Detect, Some(diff_id)).await;
            applied.map(drop).map_err(|error| unpacking(&error).into())
        }
        Source::Fetched(fetched) => {
            fetched.check_granted().await?;
            let mut tail = Tail::new(fetched.flight.clone());
            let applied = unpacker.apply(&mut tail, Compression::Detect, Some(diff_id)).await;
            // What did not come as it should cannot be unpacked either: that it did not come is the reason.
            fetched.ended().await?;
            match applied {
                Ok(_) => Ok(()),
                Err(error) if tail.is_overtaken() => Err(Stop::Again(unpacking(&error))),
                Err(error) => Err(check_kept(shared, &fetched.layer, unpacking(&error)).await),
            }
        }
    }
}

/// A layer that is here and cannot be unpacked may have been damaged since it came. Then it is to come anew.
async fn check_kept(shared: &Shared, layer: &Layer, failure: PullFailure) -> Stop {
    let (blobs, layer) = (shared.blobs.clone(), layer.clone());
    match blocking("check a layer", move || blobs.remove_if_damaged(&layer)).await {
        Ok(true) => Stop::Again(failure),
        Ok(false) => Stop::Final(failure),
        Err(error) => Stop::Final(own(&error)),
    }
}

async fn install(shared: &Shared, draft: Draft, digest: Digest, resolved: &Resolved) -> Pulled<Image> {
    let layers = match &resolved.layers {
        Layers::Registry(layers) => layers.iter().map(|layer| layer.digest.clone()).collect(),
        Layers::Local(_) => Vec::new(),
    };
    let (images, resolved) = (shared.images.clone(), resolved.image.clone());
    let installed = blocking("install an image", move || {
        let image = images.install(draft, &digest, &resolved.config)?;
        images.remember_manifest(&resolved.digest, &image.digest, &layers)?;
        Ok(image)
    });
    installed.await.map_err(|error| own(&error))
}

/// What unpacking failed with: the layer's fault, its place's, or ours.
fn unpacking(error: &Error) -> PullFailure {
    match error {
        Error::Layer { .. } if !crate::oci::failure::is_disk_full(error) => invalid(error.to_string()),
        Error::Io { source, .. } => {
            match source.get_ref().and_then(|inner| inner.downcast_ref::<PullFailure>()) {
                Some(failure) => failure.clone(),
                None => own(error),
            }
        }
        _ => own(error),
    }
}
