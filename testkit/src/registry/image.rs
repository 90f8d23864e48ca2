//! Images for tests, made of what a test says is in them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wire::image::Digest;

use super::tar::{Archive, Meta};

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packing {
    /// As most registries have it.
    #[default]
    Gzip,
    /// As some do.
    Zstd,
    /// Not at all.
    Plain,
}

/// Whose words an image is described in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// The Open Container Initiative's.
    #[default]
    Oci,
    /// Docker's second schema.
    Docker,
}

/// A layer: what it adds, changes and takes away.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    archive: Archive,
    raw: Option<Vec<u8>>,
    packing: Packing,
}

impl Layer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// One of an archive that is made already.
    pub fn from_tar(bytes: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(bytes.into()), ..Self::default() }
    }

    /// With this file, root's, that all may read.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_of(path, 0, 0o644, content)
    }

    /// With this program.
    pub fn program(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_of(path, 0, 0o755, content)
    }

    /// With this file of somebody's.
    pub fn file_of(mut self, path: &str, uid: u32, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.archive.add(path, Meta { kind: b'0', mode, uid, gid: uid }, "", content.as_ref());
        self
    }

    /// With this directory.
    pub fn dir(mut self, path: &str) -> Self {
        let name = format!("{}/", path.trim_end_matches('/'));
        self.archive.add(&name, Meta { kind: b'5', mode: 0o755, uid: 0, gid: 0 }, "", &[]);
        self
    }

    /// With this symbolic link.
    pub fn symlink(mut self, path: &str, target: &str) -> Self {
        self.archive.add(path, Meta { kind: b'2', mode: 0o777, uid: 0, gid: 0 }, target, &[]);
        self
    }

    /// With another name for a file.
    pub fn hard_link(mut self, path: &str, target: &str) -> Self {
        self.archive.add(path, Meta { kind: b'1', mode: 0o644, uid: 0, gid: 0 }, target, &[]);
        self
    }

    /// Without what layers below have here.
    pub fn whiteout(self, path: &str) -> Self {
        let name = match path.rsplit_once('/') {
            Some((dir, name)) => format!("{dir}/.wh.{name}"),
            None => format!(".wh.{path}"),
        };
        self.file_of(&name, 0, 0o644, "")
    }

    /// Compressed so.
    pub fn packing(mut self, packing: Packing) -> Self {
        self.packing = packing;
        self
    }

    /// The archive, not compressed.
    pub fn tar(&self) -> Vec<u8> {
        self.raw.clone().unwrap_or_else(|| self.archive.finish())
    }

    /// The archive as a registry stores it.
    ///
    /// # Panics
    /// When it cannot be compressed.
    pub fn packed(&self) -> Vec<u8> {
        let tar = self.tar();
        match self.packing {
            Packing::Plain => tar,
            Packing::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&tar).and_then(|()| encoder.finish()).expect("it is compressed")
            }
            Packing::Zstd => zstd::encode_all(tar.as_slice(), 1).expect("it is compressed"),
        }
    }

    fn media_type(&self, dialect: Dialect) -> &'static str {
        match (dialect, self.packing) {
            (Dialect::Oci, Packing::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Dialect::Oci, Packing::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Dialect::Oci, Packing::Plain) => "application/vnd.oci.image.layer.v1.tar",
            (Dialect::Docker, Packing::Gzip) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            (Dialect::Docker, Packing::Zstd) => "application/vnd.docker.image.rootfs.diff.tar.zstd",
            (Dialect::Docker, Packing::Plain) => "application/vnd.docker.image.rootfs.diff.tar",
        }
    }
}

/// An image: layers, and how its processes run.
#[derive(Debug, Clone)]
pub struct Image {
    layers: Vec<Layer>,
    processes: serde_json::Map<String, Value>,
    architecture: String,
    dialect: Dialect,
}

/// What an image is in a registry: a manifest, and the blobs it names.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its manifest.
    pub manifest: Vec<u8>,
    /// What the manifest is.
    pub media_type: &'static str,
    /// Configuration and layers.
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    /// The layers, from the bottom up.
    pub layers: Vec<Digest>,
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    /// One without layers, for this machine.
    pub fn new() -> Self {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        Self {
            layers: vec![],
            processes: serde_json::Map::new(),
            architecture: architecture.into(),
            dialect: Dialect::Oci,
        }
    }

    /// With this layer on top.
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Described in these words.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// For another kind of machine.
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = architecture.into();
        self
    }

    /// With a variable in `ENV`.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        let env = self.processes.entry("Env").or_insert_with(|| json!([]));
        env.as_array_mut().expect("a list").push(json!(format!("{name}={value}")));
        self
    }

    /// With this `ENTRYPOINT`.
    pub fn entrypoint(self, words: &[&str]) -> Self {
        self.with("Entrypoint", json!(words))
    }

    /// With this `CMD`.
    pub fn cmd(self, words: &[&str]) -> Self {
        self.with("Cmd", json!(words))
    }

    /// With this `USER`.
    pub fn user(self, user: &str) -> Self {
        self.with("User", json!(user))
    }

    /// With this `WORKDIR`.
    pub fn workdir(self, path: &str) -> Self {
        self.with("WorkingDir", json!(path))
    }

    /// With this `STOPSIGNAL`.
    pub fn stop_signal(self, signal: &str) -> Self {
        self.with("StopSignal", json!(signal))
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.processes.insert(key.into(), value);
        self
    }

    /// The platform, as an index names it.
    pub(crate) fn platform(&self) -> Value {
        json!({ "os": "linux", "architecture": self.architecture })
    }

    /// It as a registry stores it.
    pub fn stored(&self) -> Stored {
        let (manifest_type, config_type) = match self.dialect {
            Dialect::Oci => {
                ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json")
            }
            Dialect::Docker => (
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
            ),
        };
        let config = self.config().to_string().into_bytes();
        let packed: Vec<_> = self.layers.iter().map(Layer::packed).collect();
        let layers = self.layers.iter().zip(&packed);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": descriptor(config_type, &config),
            "layers": layers.map(|(layer, bytes)| descriptor(layer.media_type(self.dialect), bytes)).collect::<Vec<_>>(),
        });
        Stored {
            manifest: manifest.to_string().into_bytes(),
            media_type: manifest_type,
            layers: packed.iter().map(|bytes| digest_of(bytes)).collect(),
            blobs: packed.into_iter().chain([config]).map(|bytes| (digest_of(&bytes), bytes)).collect(),
        }
    }

    fn config(&self) -> Value {
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| digest_of(&layer.tar()).to_string()).collect();
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": self.processes,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        })
    }

    /// Writes it into a directory in the OCI image layout, under this tag.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn write_layout(&self, dir: &Path, tag: &str) -> Digest {
        let stored = self.stored();
        let blobs = dir.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).expect("a directory");
        let digest = digest_of(&stored.manifest);
        for (digest, bytes) in stored.blobs.iter().chain([(&digest, &stored.manifest)]) {
            std::fs::write(blobs.join(digest.hex()), bytes).expect("a blob is written");
        }
        let mut entry = descriptor(stored.media_type, &stored.manifest);
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
        std::fs::write(dir.join("index.json"), index).expect("the index is written");
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("it is written");
        digest
    }

    /// Writes it as `docker save` does.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn write_docker_archive(&self, file: &Path) {
        let meta = Meta { kind: b'0', mode: 0o644, uid: 0, gid: 0 };
        let config = self.config().to_string();
        let config_name = format!("{}.json", digest_of(config.as_bytes()).hex());
        let mut archive = Archive::default();
        archive.add(&config_name, meta, "", config.as_bytes());
        let mut names = Vec::new();
        for layer in &self.layers {
            let tar = layer.tar();
            let name = format!("{}/layer.tar", digest_of(&tar).hex());
            archive.add(&name, meta, "", &tar);
            names.push(name);
        }
        let list = json!([{ "Config": config_name, "RepoTags": ["it:latest"], "Layers": names }]).to_string();
        archive.add("manifest.json", meta, "", list.as_bytes());
        std::fs::write(file, archive.finish()).expect("the archive is written");
    }
}

/// What names content in a manifest.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest_of(bytes).to_string(), "size": bytes.len() })
}

/// The digest of these bytes.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}
