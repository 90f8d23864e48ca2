//! One fleet: HTTP → application sentence → store → place → converge.
//!
//! Control runs unprivileged. It speaks `wire::public` to users, `wire::node` to
//! nodes over Unix sockets, and nothing to engines or agents but through a node.
//!
//! - The store says what should be; the node says what is; only `converge`
//!   moves one towards the other, by the same code for a request, for the sweep
//!   and after a crash.
//! - `placement` and `record` decide and are pure: data in, data out.
//! - `http/respond.rs` alone knows the status codes of failures.

mod announcer;
mod changes;
mod config;
mod content;
mod converge;
mod deadlines;
mod directories;
mod entropy;
mod error;
mod events;
mod files;
mod finite;
mod fleet;
mod http;
mod ingress;
mod ingress_page;
pub mod keys;
mod nodes;
mod pauses;
mod pepper;
mod placement;
mod presigned;
mod private_file;
mod processes;
mod ptys;
mod public_ports;
mod quota;
mod rates;
mod record;
mod sandboxes;
mod secrets;
mod snapshots;
mod sockets;
mod store;
mod teams;
mod templates;
mod times;

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use wire::id::{KeyId, TeamId};

use crate::changes::Changes;
use crate::fleet::Fleet;
use crate::keys::Scope;
use crate::nodes::Nodes;
use crate::pepper::Pepper;
use crate::rates::Rates;
use crate::secrets::Secrets;
use crate::store::{KeyRecord, Store};
use crate::templates::Pulls;

pub use config::{Config, Limits, MetricsPage, NodeAddress};
pub use error::{Error, Result};

/// What people call the first team.
const FIRST_TEAM: &str = "default";

/// What people call the first key of a team.
const FIRST_KEY: &str = "first";

/// Control, opened and ready to serve.
pub struct Control {
    fleet: Arc<Fleet>,
}

impl Control {
    /// Opens the data directory, and makes what is missing in it. No node is asked anything yet.
    ///
    /// # Errors
    /// [`Error::Start`] when the directory, a secret or the database cannot be used.
    pub async fn open(config: Config) -> Result<Self> {
        store::private_directory(&config.data_dir)?;
        let mut store = Store::open(&config.data_dir).await?;
        if let Some(path) = &config.changes {
            store.note_changes(Changes::open(path)?);
        }
        let pepper = Pepper::open(&config.data_dir, store.has_keys().await?)?;
        let secrets = Secrets::open(&config.data_dir, config.secrets_keys.as_deref())?;
        let fleet = Fleet {
            store,
            nodes: Nodes::new(config.nodes),
            clock: config.clock,
            limits: config.limits,
            pepper,
            secrets,
            pulls: Pulls::default(),
            rates: Rates::default(),
            metrics: config.metrics,
            ingress_authority: config.ingress_authority,
            announcer: announcer::Announcer::default(),
            flights: Mutex::new(HashSet::new()),
            sockets: sockets::Sockets::default(),
            ingress: ingress_page::Told::default(),
        };
        let control = Self { fleet: Arc::new(fleet) };
        templates::reseal(&control.fleet).await?;
        control.fleet.store.forget_unfinished_snapshots().await?;
        if let Some(key) = config.first_key {
            control.add_first_key(key.trim()).await?;
        }
        Ok(control)
    }

    /// Adds a team with a key of its own, and returns the key: it can be read here, and never again.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::Store`].
    pub async fn add_team(&self, name: &str, scopes: &[Scope]) -> Result<String> {
        let key = keys::generate()?;
        self.add_key(name, &key, scopes).await?;
        Ok(key)
    }

    async fn add_first_key(&self, key: &str) -> Result<()> {
        // An empty key would let everybody in who sends none.
        if !keys::is_well_formed(key) {
            let what = format!("the first key must be `{}` and 64 hexadecimal digits", keys::PREFIX);
            return Err(Error::Start(what, None));
        }
        if self.fleet.store.has_keys().await? {
            return Ok(());
        }
        self.add_key(FIRST_TEAM, key, &[Scope::Operator, Scope::Team]).await
    }

    async fn add_key(&self, team_name: &str, key: &str, scopes: &[Scope]) -> Result<()> {
        let record = KeyRecord {
            id: KeyId::from_entropy(entropy::bytes()?),
            name: FIRST_KEY.to_owned(),
            team: TeamId::from_entropy(entropy::bytes()?),
            scopes: scopes.to_vec(),
            created_at_ms: self.fleet.now_ms(),
            expires_at_ms: None,
            last_used_at_ms: None,
        };
        self.fleet.store.add_team_with_key(team_name, &record, &self.fleet.pepper.hash(key)).await
    }

    /// Tells the ingress where requests may go, for as long as this runs.
    pub fn guide(&self, listener: UnixListener) -> impl Future<Output = ()> + Send + use<> {
        http::serve_ingress(self.fleet.clone(), listener)
    }

    /// Serves clients, listens to nodes and sweeps, until `shutdown`; then ends what is under way, bounded.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let Self { fleet } = self;
        let mut background = JoinSet::new();
        background.spawn(converge::sweep_for_ever(fleet.clone()));
        background.spawn(templates::prune_for_ever(fleet.clone()));
        background.spawn(snapshots::prune_for_ever(fleet.clone()));
        for node in fleet.nodes.all() {
            background.spawn(converge::listen(fleet.clone(), node.clone()));
        }
        let stopping = async {
            shutdown.await;
            fleet.sockets.close();
        };
        http::serve(http::router(fleet.clone()), listener, &fleet.limits, stopping).await;
        if !fleet.sockets.gone(fleet.limits.drain).await {
            tracing::warn!("WebSockets are cut off");
        }
        background.shutdown().await;
        if tokio::time::timeout(fleet.limits.drain, fleet.store.close()).await.is_err() {
            tracing::warn!("the store was still in use when the server stopped");
        }
    }
}
