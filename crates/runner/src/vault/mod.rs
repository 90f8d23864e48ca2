//! What sandboxes were at some moment: written by the engine as plain files, kept as a snapshot, and plain again while
//! somebody goes on from it.
//!
//! ```text
//!             draft                keep                       fetch
//!  engine ───────────► <dir>/<n> ───────► artifact::snapshot ───────► <dir>/<n> ───────► engine
//!                      plain               sealed, there to stay       plain, shared by all who start from it
//! ```
//!
//! Plain files hold all of a sandbox's memory. They are readable by root alone, go when nobody holds them, and none
//! outlives the node's process.

mod facts;

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use artifact::snapshot::{Collect, Collected, Facts, GoneKind, Place, Settings, Snapshots};
use wire::causes::chain;
use wire::node::{NodeError, NodeErrorCode, PruneSnapshots, Pruned, PrunedItem, PrunedKind};
use wire::snapshot::Root;

pub(crate) use facts::{about, check, token};

/// The files of a snapshot that was just taken stay plain for so long: most restores and forks follow at once.
const FRESH: Duration = Duration::from_secs(10);

/// See the module.
pub struct Vault {
    settings: Settings,
    dir: PathBuf,
    /// The number of the next directory. It begins somewhere else each time, so that none has the name of one that an
    /// earlier vault lets go of late, and with it whatever is there.
    next: AtomicU64,
    /// Opened when it is first needed: a store that cannot be reached keeps no sandbox from running.
    store: Mutex<Option<Snapshots>>,
    copies: Mutex<HashMap<Root, Shared>>,
}

/// Plain files that several may start from; held while they are being fetched.
type Shared = Arc<tokio::sync::Mutex<Weak<Files>>>;

/// A directory of plain files, which goes with whoever holds it last.
#[derive(Debug)]
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let dir = std::mem::take(&mut self.0);
        // Gigabytes take a while; and whoever lets go may be in the middle of something.
        std::thread::spawn(move || {
            if let Err(error) = fs::remove_dir_all(&dir) {
                tracing::warn!(dir = %dir.display(), %error, "plain files of a snapshot stay until the next start");
            }
        });
    }
}

impl Vault {
    /// Snapshots kept as the settings say, with plain files below `dir`. What an earlier process left there goes.
    ///
    /// # Errors
    /// When the directory cannot be made or emptied.
    pub fn open(dir: PathBuf, settings: Settings) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        empty(&dir)?;
        let next = AtomicU64::new(getrandom::u64()?);
        let (store, copies) = Default::default();
        Ok(Self { settings, dir, next, store, copies })
    }

    /// Leaves nothing plain behind. What is being written or read meanwhile fails.
    pub(crate) async fn close(self: &Arc<Self>) {
        let vault = self.clone();
        let emptied = tokio::task::spawn_blocking(move || empty(&vault.dir)).await;
        if let Err(error) = emptied.map_err(io::Error::other).flatten() {
            tracing::warn!(%error, "plain files of snapshots stay until the next start");
        }
    }

    /// How often what a sandbox is lies on the node's disk while it is being kept.
    pub(crate) fn copies_on_disk(&self) -> u64 {
        match self.settings.place {
            Place::Disk(_) => 2,
            Place::Bucket(_) => 1,
        }
    }

    /// An empty directory for plain files.
    pub(crate) fn draft(&self) -> Result<Files, NodeError> {
        let dir = self.dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => Ok(Files(dir)),
            Err(error) => {
                let message = format!("{} cannot be made: {error}", dir.display());
                Err(NodeError::new(code_of(&error), message))
            }
        }
    }

    /// Keeps what is in these files as a snapshot: it is there to stay when this returns. Its name, and its bytes.
    pub(crate) async fn keep(
        self: &Arc<Self>,
        files: &Arc<Files>,
        facts: Facts,
    ) -> Result<(Root, u64), NodeError> {
        let files = files.clone();
        let stored = self.on_a_thread(move |store| store.store(files.dir(), &facts)).await?;
        tracing::debug!(?stored, "kept");
        Ok((stored.root, stored.bytes_logical))
    }

    /// Leaves these files where [`Vault::fetch`] finds them, for a while.
    pub(crate) async fn leave(&self, root: Root, files: Arc<Files>) {
        *self.shared(root).lock().await = Arc::downgrade(&files);
        tokio::spawn(async move {
            tokio::time::sleep(FRESH).await;
            drop(files);
        });
    }

    /// What a snapshot knows of itself.
    pub(crate) async fn facts(self: &Arc<Self>, root: Root) -> Result<Facts, NodeError> {
        self.on_a_thread(move |store| store.facts(&root)).await
    }

    /// The plain files of a snapshot, which are fetched once for all who want them at the same time.
    pub(crate) async fn fetch(self: &Arc<Self>, root: Root) -> Result<Arc<Files>, NodeError> {
        let shared = self.shared(root);
        let mut copy = shared.lock().await;
        if let Some(files) = copy.upgrade() {
            return Ok(files);
        }
        let files = Arc::new(self.draft()?);
        let into = files.clone();
        self.on_a_thread(move |store| store.fetch(&root, into.dir())).await?;
        *copy = Arc::downgrade(&files);
        Ok(files)
    }

    /// Takes a snapshot away; one that is gone is good.
    pub(crate) async fn remove(self: &Arc<Self>, root: Root) -> Result<(), NodeError> {
        self.on_a_thread(move |store| store.remove(&root)).await
    }

    /// Takes away what nobody needs, with the snapshots of this node's own sandboxes among `order.keep`.
    pub(crate) async fn prune(self: &Arc<Self>, order: PruneSnapshots) -> Result<Pruned, NodeError> {
        let pruned = self.on_a_thread(move |store| {
            let live = order.keep.into_iter().collect();
            let age_min = Duration::from_secs(order.age_seconds_min);
            store.collect(&Collect { live: &live, age_min, dry_run: order.dry_run })
        });
        Ok(told(pruned.await?))
    }

    /// Seals with the first of the operator's keys what the others sealed.
    pub(crate) async fn rewrap(self: &Arc<Self>) -> Result<usize, NodeError> {
        self.on_a_thread(Snapshots::rewrap).await
    }

    fn shared(&self, root: Root) -> Shared {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.retain(|_, shared| Arc::strong_count(shared) > 1 || is_there(shared));
        copies.entry(root).or_default().clone()
    }

    /// Does something with the store where file work may be done.
    async fn on_a_thread<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Snapshots) -> artifact::snapshot::Result<T> + Send + 'static,
    ) -> Result<T, NodeError> {
        let vault = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&vault.store()?)).await;
        let done = done.map_err(|cut| NodeError::new(NodeErrorCode::Internal, cut.to_string()))?;
        done.map_err(|error| refusal(&error))
    }

    fn store(&self) -> artifact::snapshot::Result<Snapshots> {
        let mut store: MutexGuard<'_, Option<Snapshots>> =
            self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*store {
            return Ok(open.clone());
        }
        let open = Snapshots::open(&self.settings)?;
        *store = Some(open.clone());
        Ok(open)
    }
}

fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        match fs::remove_dir_all(entry?.path()) {
            // Whoever held it let go at the same moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// Whether somebody holds files of it, as far as can be told at once.
fn is_there(shared: &Shared) -> bool {
    shared.try_lock().map_or(true, |copy| copy.strong_count() > 0)
}

fn refusal(error: &artifact::snapshot::Error) -> NodeError {
    use artifact::snapshot::Error;
    let code = match error {
        _ if error.is_full() => NodeErrorCode::StorageFull,
        Error::NotFound { .. } => NodeErrorCode::NotFound,
        Error::Damaged { .. } | Error::Missing { .. } => NodeErrorCode::Unusable,
        _ => NodeErrorCode::Internal,
    };
    NodeError::new(code, chain(error))
}

fn code_of(error: &io::Error) -> NodeErrorCode {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => NodeErrorCode::StorageFull,
        _ => NodeErrorCode::Internal,
    }
}

fn told(collected: Collected) -> Pruned {
    for problem in &collected.problems {
        tracing::warn!(problem, "snapshots were not all pruned");
    }
    let items = collected.gone.into_iter().map(|gone| PrunedItem {
        kind: match gone.kind {
            GoneKind::Snapshot => PrunedKind::Snapshot,
            GoneKind::Pack => PrunedKind::Chunks,
            GoneKind::Intent | GoneKind::Draft => PrunedKind::Draft,
        },
        name: gone.name,
        bytes: gone.bytes,
        reason: gone.reason,
    });
    Pruned { items: items.collect(), bytes: collected.bytes }
}

#[cfg(test)]
mod tests;
