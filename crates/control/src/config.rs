//! What control is started with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wire::clock::Clock;
use wire::public::team::{self, TeamLimits};
use wire::public::template;
use wire::sandbox::defaults;

/// Everything control needs to know at start.
pub struct Config {
    /// Where the database and the secret of the key hashes live. Made with mode 0700 if it is not there.
    pub data_dir: PathBuf,
    /// The nodes of the fleet.
    pub nodes: Vec<NodeAddress>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// A plaintext key: stored (as its hash, with both scopes, for a first team) if no key exists at all.
    pub first_key: Option<String>,
    /// A key file of the operator's, as text: what others' secrets are sealed with. Absent, control keeps its own.
    pub secrets_keys: Option<String>,
    /// How much and how long.
    pub limits: Limits,
    /// What `GET /metrics` shows.
    pub metrics: MetricsPage,
    /// What stands in URLs of the ingress after a sandbox's name or a token, and a dot: its domain, and its port.
    pub ingress_authority: String,
    /// Where the ingress sees that what it was allowed may be over; without it, it asks each time.
    pub changes: Option<PathBuf>,
}

/// How to reach a node.
#[derive(Debug, Clone)]
pub struct NodeAddress {
    /// The Unix socket it listens on.
    pub socket: PathBuf,
}

/// What `GET /metrics` shows, and to whom.
#[derive(Clone)]
pub struct MetricsPage {
    /// Renders the page, in the Prometheus text format.
    pub render: Arc<dyn Fn() -> String + Send + Sync>,
    /// Whether it is shown without an operator's key.
    pub public: bool,
}

impl MetricsPage {
    /// A page for operators only.
    pub fn new(render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { render: Arc::new(render), public: false }
    }
}

/// Bounds an operator may change.
#[derive(Debug, Clone)]
pub struct Limits {
    /// What a team may have and how fast it may ask, where nothing else was set for it.
    pub team: TeamLimits,
    /// What a new sandbox can write on top of its image, in MiB.
    pub disk_mib: u32,
    /// Room on the disk of the data directory below which no sandbox is made, in MiB.
    pub disk_reserve_mib: u64,
    /// Processes and threads of a new sandbox.
    pub processes_max: u32,
    /// Connections of clients at once; more wait to be accepted.
    pub connections_max: usize,
    /// Body of one `write-file`, in bytes.
    pub upload_bytes_max: u64,
    /// Output and errors of one `process/execute`, in bytes each; the rest is dropped and said to be.
    pub output_bytes_max: usize,
    /// How long a create may take, the time for a ready check left out.
    pub create_wait: Duration,
    /// How long a template waits for its image's manifest and configuration.
    pub resolve_wait: Duration,
    /// How long a create waits for its template's image.
    pub pull_wait: Duration,
    /// Time between two prunes of images; `None`: only when somebody asks.
    pub prune_interval: Option<Duration>,
    /// How long an image that is pruned has not been used.
    pub prune_idle: Duration,
    /// How long ago what nobody needs of snapshots was stored: what is being taken is not known here yet.
    pub snapshot_age: Duration,
    /// How long other requests wait for a sandbox that is being made.
    pub ready_wait: Duration,
    /// How long a pause waits for the node; it goes on if that is not enough.
    pub pause_wait: Duration,
    /// How long a delete waits for the node; the deletion goes on if that is not enough.
    pub delete_wait: Duration,
    /// Silence after which a waiting client is sent a byte.
    pub keep_alive: Duration,
    /// How long a client may be silent in the middle of a body.
    pub body_idle: Duration,
    /// How long the record of a deleted sandbox can be read.
    pub record_retention: Duration,
    /// How long events can be read, at least; those of a sandbox whose record can be read stay with it.
    pub event_retention: Duration,
    /// How long an `Idempotency-Key` is remembered.
    pub idempotency_retention: Duration,
    /// Time between two sweeps over the store.
    pub sweep_interval: Duration,
    /// How long requests under way may take to end when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            team: team::defaults::LIMITS,
            disk_mib: defaults::DISK_MIB,
            disk_reserve_mib: 0,
            processes_max: defaults::PROCESSES_MAX,
            connections_max: 4096,
            upload_bytes_max: 1024 * 1024 * 1024,
            output_bytes_max: 10 * 1024 * 1024,
            create_wait: Duration::from_secs(120),
            resolve_wait: Duration::from_secs(60),
            pull_wait: Duration::from_secs(120),
            prune_interval: Some(Duration::from_secs(24 * 60 * 60)),
            prune_idle: Duration::from_secs(template::defaults::IDLE_SECONDS as u64),
            snapshot_age: Duration::from_secs(60 * 60),
            ready_wait: Duration::from_secs(60),
            pause_wait: Duration::from_secs(600),
            delete_wait: Duration::from_secs(30),
            keep_alive: Duration::from_secs(5),
            body_idle: Duration::from_secs(60),
            record_retention: Duration::from_secs(60 * 60),
            event_retention: Duration::from_secs(24 * 60 * 60),
            idempotency_retention: Duration::from_secs(24 * 60 * 60),
            sweep_interval: Duration::from_secs(10),
            drain: Duration::from_secs(10),
        }
    }
}
