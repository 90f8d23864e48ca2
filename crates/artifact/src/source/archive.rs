//! What `docker save` writes. Such an image has no manifest by which to call it: it is called by its configuration,
//! as Docker does.

use std::fs::File;
use std::sync::Arc;

use serde::Deserialize;
use wire::image::Digest;

use super::local::{LocalLayer, blocking};
use super::tar::{Contents, read_span};
use super::{Layers, Resolved, beneath, check_platform, told};
use crate::oci::Settings;
use crate::oci::config::{self, Config};
use crate::oci::failure::{Pulled, disk, invalid, refused};
use crate::oci::manifest::{CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::oci::registry::digest_of;

/// The file that lists the images of an archive.
const MANIFEST: &str = "manifest.json";

/// An archive of one image.
pub(crate) struct Archive {
    name: String,
    file: Arc<File>,
    image_bytes_max: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    layers: Vec<String>,
}

impl Archive {
    pub(super) async fn open(settings: &Settings, path: String) -> Pulled<Self> {
        let name = format!("docker-archive:{path}");
        let image_bytes_max = settings.image_bytes_max;
        let (settings, opened_name) = (settings.clone(), name.clone());
        let file = blocking(move || beneath::open(&settings, &opened_name, &path)).await?;
        Ok(Self { name, file: Arc::new(file), image_bytes_max })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What its image is.
    pub(super) async fn resolve(&self) -> Pulled<Resolved> {
        let (name, file, bytes_max) = (self.name.clone(), self.file.clone(), self.image_bytes_max);
        blocking(move || resolve(&name, &file, bytes_max)).await
    }
}

fn resolve(name: &str, file: &File, bytes_max: u64) -> Pulled<Resolved> {
    let wrong = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
            invalid(format!("{name} cannot be read: {error}"))
        }
        _ => disk(&format!("read {name}"), &error),
    };
    let contents = Contents::read(file).map_err(wrong)?;
    let find =
        |path: &str| contents.find(path).ok_or_else(|| invalid(format!("{name} has no file `{path}`")));
    let list = read_span(file, find(MANIFEST)?, MANIFEST_BYTES_MAX).map_err(wrong)?;
    let item = only_item(name, &list)?;
    let bytes = read_span(file, find(&item.config)?, CONFIG_BYTES_MAX).map_err(wrong)?;
    let Config { image, diff_ids, platform } = config::read(name, &bytes, item.layers.len())?;
    check_platform(name, platform)?;
    let spans = item.layers.iter().map(|path| find(path)).collect::<Pulled<Vec<_>>>()?;
    let layer_bytes: u64 = spans.iter().map(|span| span.length).sum();
    if layer_bytes > bytes_max {
        return Err(refused(format!(
            "{name} has {layer_bytes} bytes of layers; {bytes_max} is the limit of this node"
        )));
    }
    let layers = item.layers.iter().zip(spans).map(|(path, span)| {
        let file = file.try_clone().map_err(wrong)?;
        Ok(LocalLayer::new(format!("`{path}` of {name}"), file, span.offset, span.length, None))
    });
    let layers = layers.collect::<Pulled<Vec<_>>>()?;
    let digest: Digest = digest_of(&bytes);
    Ok(Resolved {
        image: told(digest, image, layers.len(), layer_bytes),
        diff_ids,
        layers: Layers::Local(layers),
    })
}

fn only_item(name: &str, list: &[u8]) -> Pulled<Item> {
    let items: Vec<Item> = serde_json::from_slice(list)
        .map_err(|error| invalid(format!("{MANIFEST} of {name} cannot be read: {error}")))?;
    let count = items.len();
    match <[Item; 1]>::try_from(items) {
        Ok([item]) => Ok(item),
        Err(_) => Err(invalid(format!("{name} has {count} images; save one to an archive"))),
    }
}
