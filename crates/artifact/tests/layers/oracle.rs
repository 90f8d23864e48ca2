//! What others make of the same layers: `umoci unpack`, which runtimes are compared with, and `skopeo`, which converts
//! what it cannot read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

/// An archive, and how it is compressed.
pub type Blob = (Vec<u8>, Compress);
pub type Compress = fn(&[u8]) -> Vec<u8>;

/// An image in the OCI layout, in a directory.
pub struct OciImage {
    pub dir: PathBuf,
}

impl OciImage {
    /// Writes an image of these layers to a directory.
    pub fn write(dir: &Path, layers: &[Blob]) -> Self {
        fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        let image = Self { dir: dir.to_owned() };
        let described: Vec<String> = layers
            .iter()
            .map(|(archive, compress)| {
                let blob = compress(archive);
                let media_type = match &blob[..4] {
                    [0x1f, 0x8b, ..] => GZIP,
                    [0x28, 0xb5, 0x2f, 0xfd] => ZSTD,
                    _ => PLAIN,
                };
                image.blob(&blob, media_type)
            })
            .collect();
        let diff_ids: Vec<String> =
            layers.iter().map(|(archive, _)| format!("\"{}\"", digest(archive))).collect();
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            diff_ids.join(",")
        );
        let config = image.blob(config.as_bytes(), "application/vnd.oci.image.config.v1+json");
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{config},"layers":[{}]}}"#,
            described.join(",")
        );
        let manifest = image.blob(manifest.as_bytes(), "application/vnd.oci.image.manifest.v1+json");
        let tagged = manifest.replace('}', r#","annotations":{"org.opencontainers.image.ref.name":"it"}}"#);
        fs::write(dir.join("index.json"), format!(r#"{{"schemaVersion":2,"manifests":[{tagged}]}}"#))
            .unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        image
    }

    /// Stores a blob and describes it.
    fn blob(&self, content: &[u8], media_type: &str) -> String {
        let digest = digest(content);
        fs::write(self.dir.join("blobs/sha256").join(&digest["sha256:".len()..]), content).unwrap();
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, content.len())
    }

    /// The tree that umoci makes of it, or why it makes none.
    pub fn unpacked_by_umoci(&self, to: &Path) -> Result<PathBuf, String> {
        let image = format!("{}:it", self.dir.display());
        run("umoci", &["raw", "unpack", "--image", &image, to.to_str().unwrap()])?;
        Ok(to.to_owned())
    }

    /// The same image as skopeo writes it with these options, for `umoci`.
    pub fn converted(&self, to: &Path, options: &[&str]) -> Self {
        let (from, into) = (format!("oci:{}:it", self.dir.display()), format!("oci:{}:it", to.display()));
        run("skopeo", &[&["copy", "--insecure-policy", "--quiet"], options, &[&from, &into]].concat())
            .unwrap();
        Self { dir: to.to_owned() }
    }

    /// Its layers as Docker's format has them, made by skopeo.
    pub fn docker_layers(&self, to: &Path) -> Vec<Vec<u8>> {
        let (from, into) = (format!("oci:{}:it", self.dir.display()), format!("dir:{}", to.display()));
        run("skopeo", &["copy", "--insecure-policy", "--quiet", "--format", "v2s2", &from, &into]).unwrap();
        let manifest = fs::read_to_string(to.join("manifest.json")).unwrap();
        assert!(manifest.contains("application/vnd.docker.image.rootfs.diff.tar.gzip"), "{manifest}");
        let layers = manifest.split("\"layers\"").nth(1).unwrap();
        let digests = layers.split("sha256:").skip(1).map(|rest| &rest[..64]);
        digests.map(|digest| fs::read(to.join(digest)).unwrap()).collect()
    }
}

pub fn digest(content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; run `scripts/install-packages test`"));
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
