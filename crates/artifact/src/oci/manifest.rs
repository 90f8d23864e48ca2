//! Manifests and indexes (OCI image-spec; Docker's image manifest, schema 2).

use serde::Deserialize;
use wire::image::Digest;

use super::Settings;
use super::failure::{Pulled, invalid, refused};
use super::platform::Platform;

/// A manifest or index, in bytes, at most: what registries allow.
pub(crate) const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// A configuration, in bytes, at most.
pub(crate) const CONFIG_BYTES_MAX: usize = 8 << 20;
/// Layers of an image, at most: what Docker allows.
const LAYERS_MAX: usize = 127;
/// Entries of an index, at most.
const ENTRIES_MAX: usize = 1000;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What we ask registries for.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A layer, as its registry stores it. How it is packed is seen by its first bytes: registries have both right and
/// wrong words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    pub digest: Digest,
    pub size_bytes: u64,
}

/// An image, before its configuration is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub config: Digest,
    pub config_bytes: u64,
    pub layers: Vec<Layer>,
}

/// An image of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub digest: Digest,
    pub platform: Option<Platform>,
    /// `org.opencontainers.image.ref.name`: its tag, in a layout.
    pub tag: Option<String>,
}

/// What a document turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    Image(Manifest),
    Index(Vec<Entry>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "org.opencontainers.image.ref.name")]
    tag: Option<String>,
}

/// Reads a document. `name` is what it is called in refusals, `content_type` what its registry says it is.
pub(crate) fn read(name: &str, bytes: &[u8], content_type: Option<&str>) -> Pulled<Document> {
    let raw: Raw = serde_json::from_slice(bytes)
        .map_err(|error| invalid(format!("{name} has a manifest that cannot be read: {error}")))?;
    if raw.schema_version == 1 || raw.fs_layers.is_some() {
        return Err(invalid(format!(
            "{name} has a manifest of Docker's first schema, which nobody can verify; push it again with a Docker \
             of this decade"
        )));
    }
    let content_type = content_type.map(|text| text.split(';').next().unwrap_or(text).trim());
    let media_type = raw.media_type.as_deref().or(content_type).unwrap_or_default().to_owned();
    match (raw.layers, raw.manifests) {
        // A document that is both would be another image to others than to us.
        (Some(_), Some(_)) => Err(invalid(format!("{name} is a manifest and an index at once"))),
        (Some(layers), None) if media_type != OCI_INDEX && media_type != DOCKER_INDEX => {
            image(name, &media_type, raw.artifact_type, raw.config, layers)
        }
        (None, Some(entries)) if media_type != OCI_MANIFEST && media_type != DOCKER_MANIFEST => {
            index(name, entries)
        }
        _ => Err(invalid(format!("{name} is neither an image nor an index of images, but `{media_type}`"))),
    }
}

fn image(
    name: &str,
    media_type: &str,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Vec<Descriptor>,
) -> Pulled<Document> {
    let config = config.ok_or_else(|| invalid(format!("{name} has a manifest without configuration")))?;
    // Docker's registry writes the older type into images it converted.
    if ![OCI_CONFIG, DOCKER_CONFIG].contains(&config.media_type.as_str()) {
        let kind = artifact_type.unwrap_or(config.media_type);
        return Err(invalid(format!(
            "{name} is no image but an artifact of the type `{kind}` ({media_type})"
        )));
    }
    if layers.len() > LAYERS_MAX {
        return Err(invalid(format!("{name} has {} layers; {LAYERS_MAX} is the limit", layers.len())));
    }
    let layers = layers.into_iter().enumerate().map(|(index, layer)| read_layer(name, index, layer));
    Ok(Document::Image(Manifest {
        config: digest(name, &config.digest)?,
        config_bytes: config.size,
        layers: layers.collect::<Pulled<_>>()?,
    }))
}

fn read_layer(name: &str, index: usize, layer: Descriptor) -> Pulled<Layer> {
    check_type(&layer.media_type)
        .map_err(|what| invalid(format!("layer {} of {name} {what} (`{}`)", index + 1, layer.media_type)))?;
    Ok(Layer { digest: digest(name, &layer.digest)?, size_bytes: layer.size })
}

/// What is wrong with layers of this type.
fn check_type(media_type: &str) -> Result<(), &'static str> {
    const OCI: &str = "application/vnd.oci.image.layer.v1.tar";
    const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    if media_type.contains("nondistributable") || media_type.contains(".foreign.") {
        return Err("is not distributed by registries, and is not fetched from elsewhere");
    }
    if media_type.ends_with("+encrypted") {
        return Err("is encrypted");
    }
    let rest = media_type.strip_prefix(OCI).or(media_type.strip_prefix(DOCKER));
    match rest {
        Some("" | "+gzip" | ".gzip" | "+zstd" | ".zstd") => Ok(()),
        _ => Err("is of a type that is no layer"),
    }
}

fn index(name: &str, entries: Vec<Descriptor>) -> Pulled<Document> {
    if entries.len() > ENTRIES_MAX {
        return Err(invalid(format!(
            "{name} is an index of {} images; {ENTRIES_MAX} is the limit",
            entries.len()
        )));
    }
    let entries = entries.into_iter().map(|entry| {
        let tag = entry.annotations.and_then(|annotations| annotations.tag);
        Ok(Entry { digest: digest(name, &entry.digest)?, platform: entry.platform, tag })
    });
    Ok(Document::Index(entries.collect::<Pulled<_>>()?))
}

fn digest(name: &str, text: &str) -> Pulled<Digest> {
    text.parse().map_err(|_| {
        let text: String = text.chars().take(80).collect();
        invalid(format!("{name} names content by `{text}`, which is no SHA-256 digest"))
    })
}

impl Manifest {
    /// All layers, as they are stored.
    pub(crate) fn layer_bytes(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size_bytes))
    }

    /// Refuses an image that is larger than the operator allows, before any of it is fetched.
    pub(crate) fn check_size(&self, name: &str, settings: &Settings) -> Pulled<()> {
        let largest = self.layers.iter().map(|layer| layer.size_bytes).max().unwrap_or(0);
        if largest > settings.layer_bytes_max {
            let max = settings.layer_bytes_max;
            return Err(refused(format!(
                "{name} has a layer of {largest} bytes; {max} is the limit of this node"
            )));
        }
        let (all, max) = (self.layer_bytes(), settings.image_bytes_max);
        if all > max {
            return Err(refused(format!(
                "{name} has {all} bytes of layers; {max} is the limit of this node"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn descriptor(media_type: &str, size: u64) -> Value {
        json!({ "mediaType": media_type, "digest": format!("sha256:{HEX}"), "size": size })
    }

    fn manifest(layers: &[&str]) -> Value {
        let layers: Vec<_> = layers.iter().map(|media_type| descriptor(media_type, 7)).collect();
        json!({ "schemaVersion": 2, "config": descriptor(OCI_CONFIG, 5), "layers": layers })
    }

    fn read_json(value: &Value) -> Pulled<Document> {
        read("r.test/it", value.to_string().as_bytes(), None)
    }

    fn refusal(value: &Value) -> String {
        read_json(value).unwrap_err().message
    }

    #[test]
    fn layers_of_both_dialects_are_known() {
        let layers = [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ];
        let Ok(Document::Image(manifest)) = read_json(&manifest(&layers)) else { panic!() };
        assert_eq!(manifest.layer_bytes(), 35);
    }

    #[test]
    fn what_is_no_layer_is_refused_by_number_and_kind() {
        let check = |media_type: &str, part: &str| {
            let refusal = refusal(&manifest(&["application/vnd.oci.image.layer.v1.tar", media_type]));
            assert!(refusal.contains("layer 2") && refusal.contains(part), "{refusal}");
        };
        check("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "not distributed");
        check("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "not distributed");
        check("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "encrypted");
        check("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "no layer");
        check("application/vnd.oci.image.layer.v1.tar+xz", "no layer");
    }

    #[test]
    fn what_is_no_image_is_refused_in_words() {
        let check = |value: Value, part: &str| {
            let refusal = refusal(&value);
            assert!(refusal.contains("r.test/it") && refusal.contains(part), "{refusal}");
        };
        check(json!({ "schemaVersion": 1, "fsLayers": [] }), "first schema");
        check(json!({ "schemaVersion": 2 }), "neither");
        check(json!({ "schemaVersion": 2, "layers": [], "manifests": [] }), "at once");
        check(json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "layers": [] }), "neither");
        let mut helm = manifest(&[]);
        helm["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
        check(helm, "artifact of the type `application/vnd.cncf.helm.config.v1+json`");
        let mut odd = manifest(&[]);
        odd["config"]["digest"] = json!("sha512:beef");
        check(odd, "sha512:beef");
        check(manifest(&["application/vnd.oci.image.layer.v1.tar"; 128]), "127");
        assert!(read("r.test/it", b"<html>", None).unwrap_err().message.contains("cannot be read"));
        let index = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
        assert!(read("r.test/it", index.as_bytes(), Some(OCI_MANIFEST)).is_err());
    }

    #[test]
    fn an_image_beyond_the_limits_is_refused_before_it_is_fetched() {
        let Ok(Document::Image(manifest)) =
            read_json(&manifest(&["application/vnd.oci.image.layer.v1.tar"; 3]))
        else {
            panic!()
        };
        let settings =
            |layer, image| Settings { layer_bytes_max: layer, image_bytes_max: image, ..Settings::default() };
        assert!(manifest.check_size("it", &settings(7, 21)).is_ok());
        assert!(
            manifest.check_size("it", &settings(6, 21)).unwrap_err().message.contains("a layer of 7 bytes")
        );
        assert!(
            manifest.check_size("it", &settings(7, 20)).unwrap_err().message.contains("21 bytes of layers")
        );
    }
}
