//! Where a lab keeps what sandboxes were: a directory or a bucket, which a story may count, damage and take away.

use std::fs;
use std::path::PathBuf;

use artifact::snapshot::Place;

use crate::s3::S3;

/// Below which its objects are, in the bucket.
const PREFIX: &str = "sandboxes";
const MANIFESTS: &str = "manifests";
const PACKS: &str = "packs";

/// See the module.
pub enum Kept {
    /// A directory.
    Disk(PathBuf),
    /// A bucket.
    Bucket(S3),
}

impl Kept {
    /// A bucket of its own.
    pub async fn bucket() -> Self {
        Self::Bucket(S3::start().await)
    }

    /// What a node is told of it.
    pub fn place(&self) -> Place {
        match self {
            Self::Disk(dir) => Place::Disk(dir.clone()),
            Self::Bucket(s3) => Place::Bucket(Box::new(s3.settings(PREFIX))),
        }
    }

    /// How many snapshots are kept, those of sandboxes that are or were paused among them.
    pub fn count(&self) -> usize {
        self.objects(MANIFESTS).len()
    }

    /// How many files or objects have bytes of them.
    pub fn packs(&self) -> usize {
        self.objects(PACKS).len()
    }

    /// Changes a bit in the middle of all bytes that are kept; twice is as good as never.
    pub fn flip(&self) {
        self.change(PACKS, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
    }

    /// Takes the last byte of what says what is kept.
    pub fn cut(&self) {
        self.change(MANIFESTS, |bytes| bytes.truncate(bytes.len() - 1));
    }

    /// Takes all of it away, or brings it back.
    ///
    /// # Panics
    /// When it cannot be moved.
    pub fn lose(&self, is_gone: bool) {
        match self {
            Self::Disk(dir) => {
                let away = dir.with_extension("away");
                let (from, to) = if is_gone { (dir, &away) } else { (&away, dir) };
                fs::rename(from, to).expect("it is moved");
            }
            Self::Bucket(s3) => s3.lose_bucket(is_gone),
        }
    }

    fn objects(&self, kind: &str) -> Vec<String> {
        match self {
            Self::Disk(dir) => {
                let files = fs::read_dir(dir.join(kind)).into_iter().flatten();
                files.map(|file| file.expect("a file").path().display().to_string()).collect()
            }
            Self::Bucket(s3) => s3.objects(&format!("{PREFIX}/{kind}/")),
        }
    }

    fn change(&self, kind: &str, how: impl Fn(&mut Vec<u8>)) {
        for object in self.objects(kind) {
            match self {
                Self::Disk(_) => {
                    let mut bytes = fs::read(&object).expect("its bytes");
                    how(&mut bytes);
                    fs::write(&object, bytes).expect("they are written");
                }
                Self::Bucket(s3) => {
                    let mut bytes = s3.read(&object).to_vec();
                    how(&mut bytes);
                    s3.write(&object, bytes);
                }
            }
        }
    }
}
