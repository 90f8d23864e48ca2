//! A directory in the OCI image layout.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use wire::image::Digest;

use super::beneath;
use super::local::{LocalLayer, blocking};
use crate::oci::Settings;
use crate::oci::failure::{Pulled, disk, invalid, not_found};
use crate::oci::manifest::{self, Document, Entry, Layer, MANIFEST_BYTES_MAX, OCI_INDEX};
use crate::oci::registry::{Fetched, digest_of};

/// A layout, and which of its images is meant.
pub(crate) struct Layout {
    name: String,
    dir: Arc<OwnedFd>,
    tag: Option<String>,
}

impl Layout {
    pub(super) async fn open(settings: &Settings, path: String, tag: Option<String>) -> Pulled<Self> {
        let name = tag.as_ref().map_or_else(|| format!("oci:{path}"), |tag| format!("oci:{path}:{tag}"));
        let (settings, opened_name) = (settings.clone(), name.clone());
        let dir = blocking(move || beneath::open(&settings, &opened_name, &path)).await?;
        Ok(Self { name, dir: Arc::new(dir.into()), tag })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The document that its index means by the tag, or the only one.
    pub(super) async fn choose(&self) -> Pulled<Digest> {
        let bytes = self.read("index.json", Path::new("index.json").into(), MANIFEST_BYTES_MAX).await?;
        let Document::Index(entries) = manifest::read(&self.name, &bytes, Some(OCI_INDEX))? else {
            return Err(invalid(format!("{} has no index", self.name)));
        };
        choose(&self.name, &entries, self.tag.as_deref())
    }

    pub(super) async fn document(&self, digest: &Digest) -> Pulled<Fetched> {
        let bytes = self.blob(digest, MANIFEST_BYTES_MAX).await?;
        Ok(Fetched { bytes, digest: digest.clone(), content_type: None })
    }

    /// A small blob.
    pub(super) async fn blob(&self, digest: &Digest, bytes_max: usize) -> Pulled<Bytes> {
        let bytes = self.read(digest.as_str(), beneath::blob_path(digest.hex()), bytes_max).await?;
        match digest_of(&bytes) == *digest {
            true => Ok(bytes.into()),
            false => Err(invalid(format!("{digest} of {} has other content than its name says", self.name))),
        }
    }

    /// Where the layers are.
    pub(super) async fn layers(&self, layers: &[Layer]) -> Pulled<Vec<LocalLayer>> {
        let (dir, name, layers) = (self.dir.clone(), self.name.clone(), layers.to_vec());
        let open = move |layer: Layer| {
            let what = format!("{} of {name}", layer.digest);
            let file = open(&dir, &what, &beneath::blob_path(layer.digest.hex()))?;
            Ok(LocalLayer::new(what, file, 0, layer.size_bytes, Some(layer.digest)))
        };
        blocking(move || layers.into_iter().map(open).collect()).await
    }

    async fn read(&self, what: &str, path: std::path::PathBuf, bytes_max: usize) -> Pulled<Vec<u8>> {
        let (dir, what) = (self.dir.clone(), format!("{what} of {}", self.name));
        blocking(move || beneath::read_bounded(&what, &open(&dir, &what, &path)?, bytes_max)).await
    }
}

fn open(dir: &OwnedFd, what: &str, path: &Path) -> Pulled<File> {
    let opened = beneath::open_in(dir, path).map_err(|error| disk(&format!("open {what}"), &error))?;
    opened.ok_or_else(|| invalid(format!("there is no {what}, so it is not an image in the OCI layout")))
}

fn choose(name: &str, entries: &[Entry], tag: Option<&str>) -> Pulled<Digest> {
    let tagged = |entry: &&Entry| tag.is_none() || entry.tag.as_deref() == tag;
    let fit: Vec<_> = entries.iter().filter(tagged).collect();
    let tags = || {
        let tags: Vec<_> = entries.iter().filter_map(|entry| entry.tag.as_deref()).collect();
        if tags.is_empty() {
            "none of its images has a tag".into()
        } else {
            format!("its tags are {}", tags.join(", "))
        }
    };
    match fit.as_slice() {
        [only] => Ok(only.digest.clone()),
        [] => Err(not_found(format!("there is no {name}: {}", tags()))),
        _ => Err(not_found(format!(
            "{name} means {} images; name one with oci:PATH:TAG ({})",
            fit.len(),
            tags()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_chooses_and_is_needed_where_there_are_several() {
        let entry = |byte, tag: Option<&str>| Entry {
            digest: Digest::from_sha256([byte; 32]),
            platform: None,
            tag: tag.map(Into::into),
        };
        let two = [entry(1, Some("v1")), entry(2, Some("v2"))];
        assert_eq!(choose("it", &two, Some("v2")).unwrap(), two[1].digest);
        assert!(choose("it", &two, None).unwrap_err().message.contains("v1, v2"));
        assert!(choose("it", &two, Some("v3")).unwrap_err().message.contains("v1, v2"));
        assert_eq!(choose("it", &[entry(1, None)], None).unwrap(), two[0].digest);
        assert!(choose("it", &[], None).is_err());
    }
}
