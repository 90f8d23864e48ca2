//! One node: desired sandboxes become real ones.
//!
//! One task owns each sandbox ([`sandbox::task`]); what may happen to it is a
//! pure function ([`sandbox::lifecycle`]). `runner` has never heard of users,
//! keys or a store: it is told what should be, over `wire::node`, and says what is.

pub mod capacity;
pub mod graves;
pub mod guest;
pub mod leaks;
pub mod node;
pub mod room;
pub mod sandbox;
pub mod supervisor;
pub mod vault;

mod http;
mod loopback;
mod ports;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use artifact::Images;
use artifact::pull::Puller;
use engine::Engine;
use engine::steps::Faults;
use tokio::net::UnixListener;
use wire::clock::Clock;
use wire::id::NodeId;
use wire::node::Capacity;

use node::Node;
use sandbox::pulse::Pulse;
use supervisor::Supervisor;
use vault::Vault;

/// What a node is made of.
pub struct Config {
    /// Who it is.
    pub id: NodeId,
    /// Where its records are kept.
    pub records_dir: PathBuf,
    /// Where the engine writes what a sandbox is, and reads it; on the same disk.
    pub plain_dir: PathBuf,
    /// Where that is kept, and with what it is sealed.
    pub snapshots: artifact::snapshot::Settings,
    /// What sandboxes start from.
    pub images: Images,
    /// What fetches more of them.
    pub puller: Puller,
    /// What runs them.
    pub engine: Engine,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What it can hold.
    pub capacity: Capacity,
    /// Room on the disk of its records below which no sandbox is made, in MiB.
    pub disk_reserve_mib: u64,
    /// Bring-ups at once: more only makes each slower.
    pub bring_ups_max: usize,
    /// A sandbox dozes when nobody has talked to it for so long: its timers may then come late. `None`: never.
    pub doze_after: Option<Duration>,
    /// When an agent that says nothing is lost.
    pub pulse: Pulse,
    /// Pauses that tests ask for.
    pub faults: Faults,
}

/// A node.
#[derive(Clone)]
pub struct Runner {
    id: NodeId,
    supervisor: Arc<Supervisor>,
}

impl Runner {
    /// Opens a node and takes over what an earlier process of it left.
    ///
    /// # Errors
    /// When its records cannot be read.
    pub async fn open(config: Config) -> io::Result<Self> {
        let (id, capacity) = (config.id.clone(), config.capacity);
        let node = Arc::new(Node::open(config)?);
        tokio::spawn(rewrap(node.vault.clone()));
        let supervisor = Supervisor::open(node, capacity).await?;
        Ok(Self { id, supervisor })
    }

    /// Its sandboxes.
    pub fn supervisor(&self) -> &Arc<Supervisor> {
        &self.supervisor
    }

    /// Serves control until `shutdown`. Sandboxes go on afterwards.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(
        &self,
        listener: UnixListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let router = http::router(self.supervisor.clone(), self.id.clone());
        let serving = axum::serve(listener, router);
        tokio::select! {
            result = serving => result,
            () = shutdown => Ok(()),
        }
    }

    /// Where the ingress links up, to be lent connections.
    ///
    /// # Errors
    /// When there is something already, or no socket can be made there.
    pub fn listen_for_links(path: &Path) -> io::Result<UnixListener> {
        ports::listen(path)
    }

    /// Lends the ingress connections to ports of sandboxes, for as long as this runs.
    pub async fn lend_ports(&self, listener: UnixListener) {
        ports::lend(self.supervisor.clone(), listener).await;
    }

    /// Ends what no sandbox needs any more. Sandboxes that run go on.
    pub async fn close(&self) {
        self.supervisor.node.vault.close().await;
        self.supervisor.node.engine.close().await;
    }
}

/// What the operator's older keys sealed is sealed with the first, so that they can go. It opens the store, too, before
/// anybody waits for it.
async fn rewrap(vault: Arc<Vault>) {
    match vault.rewrap().await {
        Ok(0) => {}
        Ok(keys) => tracing::info!(keys, "snapshots are sealed with the first of the keys now"),
        Err(error) => tracing::error!(error = error.message, "the store of snapshots cannot be used for now"),
    }
}
