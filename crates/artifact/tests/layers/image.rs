//! Images in a directory of their own, and a look at what is beside it.

use std::path::{Path, PathBuf};

use artifact::rootfs::layers::{Compression, LayerReport, Limits, Unpacker};
use artifact::{Draft, Error, Images};
use tempfile::TempDir;

/// A place to unpack in. What is beside it is watched.
pub struct Bench {
    pub dir: TempDir,
    draft: Draft,
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("canary"), "untouched").unwrap();
        let draft = Images::open(&dir.path().join("images")).unwrap().draft().unwrap();
        Self { dir, draft }
    }

    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Where the tree is, or was going to be.
    pub fn tree(&self) -> PathBuf {
        self.draft.path().join("tree")
    }

    /// Unpacks these archives, as they are.
    pub async fn unpack(&self, layers: &[Vec<u8>]) -> Result<PathBuf, Error> {
        self.unpack_within(layers, Limits::default()).await
    }

    pub async fn unpack_within(&self, layers: &[Vec<u8>], limits: Limits) -> Result<PathBuf, Error> {
        let mut unpacker = Unpacker::start(&program(), &self.draft, limits).await?;
        for layer in layers {
            unpacker.apply(layer.as_slice(), Compression::Detect, None).await?;
        }
        unpacker.finish().await
    }

    /// Unpacks one layer, and says what was said of it.
    pub async fn report(&self, layer: &[u8], compression: Compression) -> Result<LayerReport, Error> {
        let mut unpacker = Unpacker::start(&program(), &self.draft, Limits::default()).await?;
        let report = unpacker.apply(layer, compression, None).await?;
        unpacker.finish().await?;
        Ok(report)
    }
}

/// What becomes the unpacker.
pub fn program() -> [std::ffi::OsString; 1] {
    [Path::new(env!("CARGO_BIN_EXE_unpacker-for-tests")).into()]
}
