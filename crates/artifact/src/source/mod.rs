//! Images without a registry, and what all places of images have in common: from a source to what the image is.

mod archive;
mod beneath;
mod layout;
mod local;
mod tar;

use bytes::Bytes;
use wire::image::{Digest, ImageConfig, ImageSource, Reference};
use wire::node::{PullImage, ResolvedImage};

pub(crate) use self::local::LocalLayer;

use self::archive::Archive;
use self::layout::Layout;
use crate::oci::config::{self, Config};
use crate::oci::failure::{Pulled, invalid, refused};
use crate::oci::manifest::{self, CONFIG_BYTES_MAX, Document, Layer, Manifest};
use crate::oci::platform::{self, Platform};
use crate::oci::registry::{Fetched, Registries, Repository};

/// Indexes that lead to one another, at most.
const INDEX_DEPTH_MAX: usize = 3;

/// A place that has an image.
pub(crate) enum Origin {
    Registry(Box<Repository>, Reference),
    Layout(Layout),
    Archive(Archive),
}

/// What an image is. Its layers are still where they were.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// What is told of it.
    pub image: ResolvedImage,
    /// The digest of each layer, unpacked.
    pub diff_ids: Vec<Digest>,
    pub layers: Layers,
}

/// Where layers are.
#[derive(Debug, Clone)]
pub(crate) enum Layers {
    Registry(Vec<Layer>),
    Local(Vec<LocalLayer>),
}

impl Origin {
    /// The place an order names.
    pub(crate) async fn of(order: &PullImage, registries: &Registries) -> Pulled<Self> {
        let source: ImageSource = order.source.parse().map_err(|error| refused(format!("{error}")))?;
        let settings = registries.settings();
        if order.credentials.is_some() && !matches!(source, ImageSource::Registry(_)) {
            return Err(refused(format!("`{source}` is on the node's disk: it takes no credentials")));
        }
        match source {
            ImageSource::Registry(reference) => {
                let repository = registries.repository(&reference, order.credentials.clone())?;
                Ok(Self::Registry(Box::new(repository), reference))
            }
            ImageSource::OciLayout { path, tag } => Layout::open(settings, path, tag).await.map(Self::Layout),
            ImageSource::DockerArchive { path } => Archive::open(settings, path).await.map(Self::Archive),
        }
    }

    /// What its images are told apart by, besides their digests.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Registry(repository, _) => repository.registry().to_owned(),
            Self::Layout(layout) => layout.name().to_owned(),
            Self::Archive(archive) => archive.name().to_owned(),
        }
    }

    /// What the image for this machine is.
    pub(crate) async fn resolve(&self, registries: &Registries) -> Pulled<Resolved> {
        if let Self::Archive(archive) = self {
            return archive.resolve().await;
        }
        let (name, mut fetched) = self.first().await?;
        for _ in 0..INDEX_DEPTH_MAX {
            match manifest::read(&name, &fetched.bytes, fetched.content_type.as_deref())? {
                Document::Image(manifest) => {
                    manifest.check_size(&name, registries.settings())?;
                    return self.resolved(&name, fetched.digest, manifest).await;
                }
                Document::Index(entries) => {
                    let here = Platform::here();
                    let platform = |entry: &manifest::Entry| entry.platform.clone();
                    let platforms: Vec<_> = entries.iter().map(|entry| (platform(entry), entry)).collect();
                    let (_, chosen) = platform::choose(
                        &name,
                        &platforms,
                        |(platform, _)| platform.as_ref(),
                        (&here, platform::level_here()),
                    )?;
                    fetched = self.document(&chosen.digest).await?;
                }
            }
        }
        Err(invalid(format!("{name} is an index of indexes of indexes")))
    }

    /// The document it names, and its name.
    async fn first(&self) -> Pulled<(String, Fetched)> {
        match self {
            Self::Registry(repository, reference) => {
                Ok((reference.to_string(), repository.manifest(reference.version()).await?))
            }
            Self::Layout(layout) => {
                let digest = layout.choose().await?;
                Ok((layout.name().to_owned(), layout.document(&digest).await?))
            }
            Self::Archive(archive) => Err(invalid(format!("{} has no manifest", archive.name()))),
        }
    }

    async fn document(&self, digest: &Digest) -> Pulled<Fetched> {
        match self {
            Self::Registry(repository, _) => repository.manifest(digest.as_str()).await,
            Self::Layout(layout) => layout.document(digest).await,
            Self::Archive(archive) => Err(invalid(format!("{} has no manifest", archive.name()))),
        }
    }

    async fn config_bytes(&self, digest: &Digest) -> Pulled<Bytes> {
        match self {
            Self::Registry(repository, _) => {
                repository.small_blob("a configuration", digest, CONFIG_BYTES_MAX).await
            }
            Self::Layout(layout) => layout.blob(digest, CONFIG_BYTES_MAX).await,
            Self::Archive(archive) => Err(invalid(format!("{} has no manifest", archive.name()))),
        }
    }

    async fn resolved(&self, name: &str, digest: Digest, manifest: Manifest) -> Pulled<Resolved> {
        let bytes = self.config_bytes(&manifest.config).await?;
        let Config { image, diff_ids, platform } = config::read(name, &bytes, manifest.layers.len())?;
        check_platform(name, platform)?;
        let told = told(digest, image, manifest.layers.len(), manifest.layer_bytes());
        let layers = match self {
            Self::Layout(layout) => Layers::Local(layout.layers(&manifest.layers).await?),
            _ => Layers::Registry(manifest.layers),
        };
        Ok(Resolved { image: told, diff_ids, layers })
    }
}

fn told(digest: Digest, config: ImageConfig, layers: usize, layer_bytes: u64) -> ResolvedImage {
    ResolvedImage { digest, config, layers: layers as u32, layer_bytes }
}

/// Refuses an image of another kind of machine: no program of it would start here.
fn check_platform(name: &str, platform: Option<Platform>) -> Pulled<()> {
    let Some(platform) = platform else { return Ok(()) };
    let here = Platform::here();
    platform::choose(name, &[platform], |platform| Some(platform), (&here, platform::level_here())).map(drop)
}
