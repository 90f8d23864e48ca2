//! The disk, drawn.
//!
//! ```text
//! D/images/
//!   format                      the version of this drawing, "1"
//!   <64 hex digits>/            one image; the name is the SHA-256 of root.erofs
//!     root.erofs                the root file system
//!     config.json               Record: digest, size in bytes, how its processes run
//!   recipes/<64 hex digits>     "sha256:…", the image last built from the recipe with this key
//!   manifests/<64 hex digits>   "sha256:…", the image made of the layers that this manifest lists, and a line for each of them
//!   blobs/<64 hex digits>       a layer as its registry stores it, whole; the name is its SHA-256
//!   blobs/from/<…>-<…>          empty: its registry (SHA-256 of its name) has sent us that layer itself
//!   blobs/partial/<…>-<…>       the beginning of one, named by it and by where it comes from; locked while it grows
//!   tmp/draft-<pid>-<n>/        an image being made; locked (flock) by its maker for as long as it lives
//! ```
//!
//! An image is complete before it has its name: its files are written and
//! synced in a draft, `config.json` last, and then the directory is renamed.
//! So a crash at any moment leaves the image or a draft, and drafts whose
//! maker is gone are removed by the next [`Images::open`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use wire::image::{Digest, ImageConfig};

use crate::{Error, Result, durable};

/// The version of the layout this build reads and writes.
pub const FORMAT: &str = "1";

const FORMAT_FILE: &str = "format";
const ROOT_FILE: &str = "root.erofs";
pub(crate) const CONFIG_FILE: &str = "config.json";
const RECIPES_DIR: &str = "recipes";
const MANIFESTS_DIR: &str = "manifests";
const BLOBS_DIR: &str = "blobs";
const DRAFTS_DIR: &str = "tmp";

/// An image that is on this disk, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name: the digest of the file.
    pub digest: Digest,
    /// The EROFS file.
    pub path: PathBuf,
    /// How its processes run.
    pub config: ImageConfig,
    /// The size of the file, in bytes.
    pub size_bytes: u64,
}

/// What `config.json` says.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    digest: Digest,
    size_bytes: u64,
    config: ImageConfig,
}

/// The images of one node. Cheap to clone; clones are the same images.
///
/// What is there is read once, at [`Images::open`]: asking costs no disk.
#[derive(Debug, Clone)]
pub struct Images(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    index: RwLock<Index>,
    drafts: AtomicU64,
    flights: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct Index {
    images: BTreeMap<Digest, Image>,
    recipes: BTreeMap<Digest, Named>,
    manifests: BTreeMap<Digest, Named>,
}

/// What a recipe or a manifest makes.
#[derive(Debug, Clone)]
struct Named {
    image: Digest,
    /// What it was made of, as its registry stores it; nothing where it came from no registry.
    layers: Vec<Digest>,
}

impl Images {
    /// The images in this directory, which is made if it is not there. Removes what crashed makers left.
    ///
    /// An image whose files do not fit its record is not listed, and is replaced when it is made again.
    ///
    /// # Errors
    /// When the directory cannot be read or made, or has another layout.
    pub fn open(dir: &Path) -> Result<Self> {
        for part in [RECIPES_DIR, MANIFESTS_DIR, DRAFTS_DIR] {
            durable::make_dir(&dir.join(part))?;
        }
        // Programs that work on images have a directory of their own.
        let dir = &fs::canonicalize(dir).map_err(Error::io("find", dir))?;
        check_format(dir)?;
        remove_abandoned_drafts(&dir.join(DRAFTS_DIR))?;
        let images = read_images(dir)?;
        let recipes = read_names(&dir.join(RECIPES_DIR), &images)?;
        let manifests = read_names(&dir.join(MANIFESTS_DIR), &images)?;
        let shared = Shared {
            dir: dir.to_owned(),
            index: RwLock::new(Index { images, recipes, manifests }),
            drafts: AtomicU64::new(0),
            flights: Mutex::default(),
        };
        Ok(Self(Arc::new(shared)))
    }

    /// The image of this digest.
    pub fn get(&self, digest: &Digest) -> Option<Image> {
        self.read_index().images.get(digest).cloned()
    }

    /// Every image, by digest.
    pub fn list(&self) -> Vec<Image> {
        self.read_index().images.values().cloned().collect()
    }

    /// The image last built from the recipe with this key ([`crate::recipe::Recipe::key`]).
    pub fn by_recipe(&self, key: &Digest) -> Option<Image> {
        let index = self.read_index();
        index.images.get(&index.recipes.get(key)?.image).cloned()
    }

    /// A place to make an image in: on the same file system, gone when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn draft(&self) -> Result<Draft> {
        loop {
            let number = self.0.drafts.fetch_add(1, Ordering::Relaxed);
            let name = format!("draft-{}-{number}", std::process::id());
            if let Some(draft) = Draft::make(self.0.dir.join(DRAFTS_DIR).join(name))? {
                return Ok(draft);
            }
        }
    }

    /// Gives a draft's file the name of its content. One that is there already stays, and the draft goes.
    ///
    /// # Errors
    /// When the disk refuses; nothing is listed then.
    pub fn install(&self, draft: Draft, digest: &Digest, config: &ImageConfig) -> Result<Image> {
        if let Some(image) = self.get(digest) {
            return Ok(image);
        }
        let staged = draft.image_dir();
        durable::sync_file(&draft.image_file())?;
        let size_bytes = file_size(&draft.image_file())?;
        let record = Record { digest: digest.clone(), size_bytes, config: config.clone() };
        durable::write_file(&staged.join(CONFIG_FILE), json(&record)?.as_bytes())?;
        durable::sync_dir(&staged)?;
        self.move_damaged_away(&draft, digest)?;
        durable::rename_into(&staged, &self.0.dir, digest.hex())?;
        let path = self.0.dir.join(digest.hex()).join(ROOT_FILE);
        let image = Image { digest: digest.clone(), path, config: config.clone(), size_bytes };
        self.write_index().images.insert(digest.clone(), image.clone());
        Ok(image)
    }

    /// Remembers that this recipe makes this image.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remember_recipe(&self, key: &Digest, digest: &Digest) -> Result<()> {
        let named = self.write_name(RECIPES_DIR, key, digest, &[])?;
        self.write_index().recipes.insert(key.clone(), named);
        Ok(())
    }

    /// The image made of the layers that this manifest lists.
    pub fn by_manifest(&self, manifest: &Digest) -> Option<Image> {
        let index = self.read_index();
        index.images.get(&index.manifests.get(manifest)?.image).cloned()
    }

    /// Remembers that this manifest's layers are this image; `layers` are those that are kept.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remember_manifest(&self, manifest: &Digest, digest: &Digest, layers: &[Digest]) -> Result<()> {
        let named = self.write_name(MANIFESTS_DIR, manifest, digest, layers)?;
        self.write_index().manifests.insert(manifest.clone(), named);
        Ok(())
    }

    /// The layers that images were made of, but for these images.
    pub(crate) fn layers_without(&self, gone: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let index = self.read_index();
        let left = index.manifests.values().filter(|named| !gone.contains(&named.image));
        left.flat_map(|named| named.layers.iter().cloned()).collect()
    }

    fn write_name(&self, kind: &str, key: &Digest, image: &Digest, layers: &[Digest]) -> Result<Named> {
        let draft = self.draft()?;
        let file = draft.path().join("name");
        let lines: String = [image].into_iter().chain(layers).map(|digest| format!("{digest}\n")).collect();
        durable::write_file(&file, lines.as_bytes())?;
        durable::rename_into(&file, &self.0.dir.join(kind), key.hex())?;
        Ok(Named { image: image.clone(), layers: layers.to_vec() })
    }

    /// Takes an image off the list, with the names that mean it. Its files are the caller's to remove.
    pub(crate) fn forget(&self, digest: &Digest) {
        let mut index = self.write_index();
        let Index { images, recipes, manifests } = &mut *index;
        images.remove(digest);
        for (names, kind) in [(recipes, RECIPES_DIR), (manifests, MANIFESTS_DIR)] {
            names.retain(|key, named| {
                let stays = named.image != *digest;
                if !stays {
                    // A name of nothing is not listed at the next start either.
                    let _ = fs::remove_file(self.0.dir.join(kind).join(key.hex()));
                }
                stays
            });
        }
    }

    /// Where layers are kept.
    pub(crate) fn blobs_dir(&self) -> PathBuf {
        self.0.dir.join(BLOBS_DIR)
    }

    /// Waits for whoever is making the image of this recipe; then it is the caller's turn, until it drops this.
    pub(crate) async fn turn_at(&self, key: &Digest) -> tokio::sync::OwnedMutexGuard<()> {
        let flight = {
            let mut flights = self.0.flights.lock().unwrap_or_else(PoisonError::into_inner);
            flights.entry(key.clone()).or_default().clone()
        };
        flight.lock_owned().await
    }

    /// An entry of this name that was not listed is damaged: it goes where the draft goes.
    fn move_damaged_away(&self, draft: &Draft, digest: &Digest) -> Result<()> {
        let place = self.0.dir.join(digest.hex());
        match fs::rename(&place, draft.path().join("damaged")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("move away", &place)(error))
            }
            _ => Ok(()),
        }
    }

    fn read_index(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.0.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_index(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.0.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A directory in which an image is made. Removed when dropped, with all that is in it.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    /// Held, not used: tells [`Images::open`] of other processes that this draft has a maker.
    _lock: File,
}

impl Draft {
    /// None if the name is taken, or was taken away before it was locked.
    fn make(path: PathBuf) -> Result<Option<Self>> {
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            made => made.map_err(Error::io("create directory", &path))?,
        }
        let Some(lock) = lock_draft(&path)? else { return Ok(None) };
        let draft = Self { path, _lock: lock };
        match fs::create_dir(draft.image_dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            made => made.map(|()| Some(draft)).map_err(Error::io("create directory", Path::new("image"))),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the EROFS file is to be written.
    pub fn image_file(&self) -> PathBuf {
        self.image_dir().join(ROOT_FILE)
    }

    fn image_dir(&self) -> PathBuf {
        self.path.join("image")
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "a draft could not be removed; the next start will");
            }
            _ => {}
        }
    }
}

/// The lock of a draft, or None if its maker has it or the draft is gone.
fn lock_draft(path: &Path) -> Result<Option<File>> {
    let dir = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(Error::io("open", path))?,
    };
    match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(dir)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(Error::io("lock", path)(error.into())),
    }
}

fn remove_abandoned_drafts(dir: &Path) -> Result<()> {
    for (_, path) in entries(dir)? {
        if !path.is_dir() {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        } else if let Some(_lock) = lock_draft(&path)? {
            tracing::info!(path = %path.display(), "removing what a crashed build left");
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Writes the layout's version where there is none, and refuses another.
fn check_format(dir: &Path) -> Result<()> {
    let file = dir.join(FORMAT_FILE);
    match fs::read_to_string(&file) {
        Ok(found) if found.trim() == FORMAT => Ok(()),
        Ok(found) => Err(Error::Layout { dir: dir.display().to_string(), found, ours: FORMAT }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let draft = dir.join(DRAFTS_DIR).join(FORMAT_FILE);
            durable::write_file(&draft, format!("{FORMAT}\n").as_bytes())?;
            durable::rename_into(&draft, dir, FORMAT_FILE)
        }
        Err(error) => Err(Error::io("read", &file)(error)),
    }
}

fn read_images(dir: &Path) -> Result<BTreeMap<Digest, Image>> {
    let mut images = BTreeMap::new();
    for (name, path) in entries(dir)? {
        let Ok(digest) = format!("sha256:{name}").parse::<Digest>() else { continue };
        match read_image(&digest, &path) {
            Ok(image) => drop(images.insert(digest, image)),
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "an image is damaged and will not be used")
            }
        }
    }
    Ok(images)
}

/// The image in this directory, or what is wrong with it.
fn read_image(digest: &Digest, dir: &Path) -> std::result::Result<Image, String> {
    let text = fs::read(dir.join(CONFIG_FILE)).map_err(|error| format!("{CONFIG_FILE}: {error}"))?;
    let record: Record = serde_json::from_slice(&text).map_err(|error| format!("{CONFIG_FILE}: {error}"))?;
    let path = dir.join(ROOT_FILE);
    let size_bytes = fs::metadata(&path).map_err(|error| format!("{ROOT_FILE}: {error}"))?.len();
    if record.digest != *digest || record.size_bytes != size_bytes {
        return Err(format!("{CONFIG_FILE} does not describe {ROOT_FILE}"));
    }
    Ok(Image { digest: record.digest, path, config: record.config, size_bytes })
}

/// What is meant by each name in this directory, where the image is there.
fn read_names(dir: &Path, images: &BTreeMap<Digest, Image>) -> Result<BTreeMap<Digest, Named>> {
    let mut names = BTreeMap::new();
    for (name, path) in entries(dir)? {
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let mut digests = text.lines().map_while(|line| line.trim().parse().ok());
        if let (Ok(key), Some(image)) = (format!("sha256:{name}").parse(), digests.next())
            && images.contains_key(&image)
        {
            names.insert(key, Named { image, layers: digests.collect() });
        }
    }
    Ok(names)
}

/// The UTF-8 names in a directory (ours all are), and their paths.
fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let paths = fs::read_dir(dir)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
        })
        .map_err(Error::io("read directory", dir))?;
    let named = |path: PathBuf| Some((path.file_name().and_then(OsStr::to_str)?.to_owned(), path));
    Ok(paths.into_iter().filter_map(named).collect())
}

fn file_size(path: &Path) -> Result<u64> {
    fs::metadata(path).map(|metadata| metadata.len()).map_err(Error::io("look at", path))
}

/// What `config.json` will say.
fn json(record: &Record) -> Result<String> {
    let text = serde_json::to_string_pretty(record).map_err(io::Error::from);
    Ok(text.map_err(Error::io("describe the image in", Path::new(CONFIG_FILE)))? + "\n")
}
