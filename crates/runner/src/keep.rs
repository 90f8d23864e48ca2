//! What sandboxes that are paused are, on the node's own disk.
//!
//! ```text
//! <dir>/<id>.draft/   a checkpoint that is being written; of no worth until it is renamed
//! <dir>/<id>/         the checkpoint of a sandbox that is paused, whole on the disk
//!       facts.json    what wrote it, and how long its files are
//! ```
//!
//! It holds all of a sandbox's memory, so it is readable by root alone. Everything here waits for the disk, and is
//! called where that stops nobody.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wire::id::SandboxId;
use wire::image::Digest;

/// The ending of a checkpoint that is being written.
const DRAFT: &str = "draft";
/// What a checkpoint knows of itself.
const FACTS: &str = "facts.json";

/// What must be the same for a checkpoint to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The engine that wrote it.
    pub engine: String,
    /// The version of that engine.
    pub engine_version: String,
    /// The image under it.
    pub image: Digest,
}

#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    origin: Origin,
    /// How long each of its files is, in bytes.
    files: BTreeMap<String, u64>,
}

/// The directory of all of them.
#[derive(Debug, Clone)]
pub struct Keep {
    dir: PathBuf,
}

impl Keep {
    /// Opens the directory, making it if there is none, and removes what a crash left of a write.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let keep = Self { dir };
        for path in keep.all()?.into_iter().filter(|path| path.extension().is_some_and(|e| e == DRAFT)) {
            fs::remove_dir_all(path)?;
        }
        Ok(keep)
    }

    /// An empty directory for a checkpoint of this sandbox.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn draft(&self, id: &SandboxId) -> io::Result<PathBuf> {
        let draft = self.draft_of(id);
        remove(&draft)?;
        DirBuilder::new().mode(0o700).create(&draft)?;
        Ok(draft)
    }

    /// Keeps what is in the draft, instead of what was kept before: when this returns, the disk has all of it.
    ///
    /// # Errors
    /// When the disk refuses; what was kept before is untouched, unless it had to go for the last step.
    pub fn store(&self, id: &SandboxId, origin: &Origin) -> io::Result<()> {
        let (draft, path) = (self.draft_of(id), self.path(id));
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&draft)? {
            let entry = entry?;
            let file = File::open(entry.path())?;
            file.sync_all()?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), file.metadata()?.len());
        }
        let facts = Facts { origin: origin.clone(), files };
        fs::write(draft.join(FACTS), serde_json::to_vec(&facts)?)?;
        File::open(draft.join(FACTS))?.sync_all()?;
        File::open(&draft)?.sync_all()?;
        remove(&path)?;
        fs::rename(&draft, &path)?;
        File::open(&self.dir)?.sync_all()
    }

    /// Where the checkpoint of a sandbox is.
    ///
    /// # Errors
    /// Why nothing can go on from it, for people.
    pub fn find(&self, id: &SandboxId, origin: &Origin) -> Result<PathBuf, String> {
        let path = self.path(id);
        let unreadable = |error| format!("what was kept of it in {} cannot be read: {error}", path.display());
        let text = fs::read(path.join(FACTS)).map_err(|error| unreadable(error.to_string()))?;
        let facts: Facts = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        if facts.origin != *origin {
            return Err(incompatible(&facts.origin, origin));
        }
        for (name, bytes) in &facts.files {
            let found = fs::metadata(path.join(name)).map(|found| found.len()).unwrap_or(0);
            if found != *bytes {
                let file = path.join(name);
                return Err(format!("{} is damaged: it has {found} bytes of {bytes}", file.display()));
            }
        }
        Ok(path)
    }

    /// Forgets what is kept of a sandbox and what is being written; there may be neither.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, id: &SandboxId) -> io::Result<()> {
        remove(&self.draft_of(id))?;
        remove(&self.path(id))
    }

    /// Forgets what is kept of sandboxes that are not among these.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn retain(&self, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        let unwanted = |path: &PathBuf| !path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted);
        self.all()?.iter().filter(|path| unwanted(path)).try_for_each(|path| remove(path))
    }

    fn all(&self) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(&self.dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
    }

    fn path(&self, id: &SandboxId) -> PathBuf {
        self.dir.join(id.as_str())
    }

    fn draft_of(&self, id: &SandboxId) -> PathBuf {
        self.dir.join(format!("{id}.{DRAFT}"))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn incompatible(wrote: &Origin, here: &Origin) -> String {
    format!(
        "it was paused by {} {} on the image {}, and here are {} {} and {}: only the same can wake it",
        wrote.engine, wrote.engine_version, wrote.image, here.engine, here.engine_version, here.image
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::id::ENTROPY_BYTES;

    fn id(byte: u8) -> SandboxId {
        SandboxId::from_entropy([byte; ENTROPY_BYTES])
    }

    fn origin(version: &str) -> Origin {
        let image = Digest::from_sha256([1; 32]);
        Origin { engine: "fake".into(), engine_version: version.into(), image }
    }

    fn kept(keep: &Keep, byte: u8, text: &str) -> PathBuf {
        fs::write(keep.draft(&id(byte)).unwrap().join("pages"), text).unwrap();
        keep.store(&id(byte), &origin("1")).unwrap();
        keep.find(&id(byte), &origin("1")).unwrap()
    }

    #[test]
    fn what_was_kept_last_is_found_and_half_of_a_newer_one_is_gone_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Keep::open(dir.path().join("paused")).unwrap();
        kept(&keep, 1, "one");
        kept(&keep, 1, "two");
        fs::write(keep.draft(&id(1)).unwrap().join("pages"), "thr").unwrap();
        let keep = Keep::open(dir.path().join("paused")).unwrap();
        let found = keep.find(&id(1), &origin("1")).unwrap();
        assert_eq!(fs::read_to_string(found.join("pages")).unwrap(), "two");
        assert_eq!(keep.all().unwrap(), [found]);
    }

    #[test]
    fn what_is_damaged_missing_or_of_another_engine_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Keep::open(dir.path().join("paused")).unwrap();
        let refused = |byte, version: &str| keep.find(&id(byte), &origin(version)).unwrap_err();
        assert!(refused(1, "1").contains("cannot be read"));
        let path = kept(&keep, 1, "pages");
        let other = refused(1, "2");
        assert!(other.contains("fake 1") && other.contains("fake 2"), "{other}");
        fs::write(path.join("pages"), "pag").unwrap();
        assert!(refused(1, "1").contains("3 bytes of 5"));
        fs::remove_file(path.join("pages")).unwrap();
        assert!(refused(1, "1").contains("0 bytes of 5"));
    }

    #[test]
    fn what_nobody_wants_goes_and_forgetting_twice_is_as_good_as_once() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Keep::open(dir.path().join("paused")).unwrap();
        for byte in [1, 2, 3] {
            kept(&keep, byte, "pages");
        }
        keep.retain(|name| name == id(2).as_str()).unwrap();
        assert_eq!(keep.all().unwrap(), [keep.path(&id(2))]);
        keep.remove(&id(2)).unwrap();
        keep.remove(&id(2)).unwrap();
        assert!(keep.all().unwrap().is_empty());
    }
}
