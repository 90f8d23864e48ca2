//! A node's images without the node.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use artifact::Images;
use artifact::oci::Settings;
use artifact::pull::Puller;
use tempfile::TempDir;
use testkit::bins;
use wire::image::RegistryCredentials;
use wire::node::{BuiltImage, PullFailure, PullFailureCode, PullImage};

pub struct Desk {
    pub puller: Puller,
    pub images: Images,
    dir: TempDir,
}

impl Desk {
    pub fn new(settings: Settings) -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let (images, puller) = open(dir.path(), settings);
        Self { puller, images, dir }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub async fn pull(&self, source: &str) -> Result<BuiltImage, PullFailure> {
        self.pull_as(source, None).await
    }

    pub async fn pull_as(
        &self,
        source: &str,
        credentials: Option<RegistryCredentials>,
    ) -> Result<BuiltImage, PullFailure> {
        self.puller.pull(&PullImage { source: source.into(), credentials, resolve_only: false }, drop).await
    }

    /// A file of an image.
    pub fn read(&self, built: &BuiltImage, path: &str) -> String {
        std::fs::read_to_string(self.extract(built).join(path)).unwrap()
    }

    pub fn has(&self, built: &BuiltImage, path: &str) -> bool {
        self.extract(built).join(path).exists()
    }

    fn extract(&self, built: &BuiltImage) -> PathBuf {
        let to = self.dir.path().join("extracted").join(built.digest.hex());
        if !to.exists() {
            std::fs::create_dir_all(&to).unwrap();
            let image = self.images.get(&built.digest).expect("the image is there").path;
            let option = format!("--extract={}", to.display());
            let output =
                Command::new("fsck.erofs").args([&option, "--overwrite"]).arg(image).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        to
    }

    /// Layers that are there whole, and beginnings of some.
    pub fn layers(&self) -> (usize, usize) {
        let files = |dir: &str| {
            let entries = std::fs::read_dir(self.dir.path().join("images").join(dir)).unwrap();
            entries.filter(|entry| entry.as_ref().unwrap().path().is_file()).count()
        };
        (files("blobs"), files("blobs/partial"))
    }
}

pub fn open(dir: &Path, settings: Settings) -> (Images, Puller) {
    let images = Images::open(&dir.join("images")).unwrap();
    let unpacker: Vec<OsString> = vec![bins::atoll().into(), "role".into(), "unpacker".into()];
    let puller = Puller::open(images.clone(), settings, unpacker).unwrap();
    (images, puller)
}

#[track_caller]
pub fn refusal(outcome: Result<BuiltImage, PullFailure>, code: PullFailureCode, parts: &[&str]) {
    let failure = outcome.expect_err("it is refused");
    assert_eq!(failure.code, code, "{failure}");
    for part in parts {
        assert!(failure.message.contains(part), "`{part}` is not in: {failure}");
    }
}

pub fn basic(username: &str, password: &str) -> Option<RegistryCredentials> {
    Some(RegistryCredentials::Basic { username: username.into(), password: password.into() })
}
