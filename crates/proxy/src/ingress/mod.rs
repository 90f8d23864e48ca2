//! The way in: a front door that asks who it is, finds the way and streams.
//!
//! ```text
//!  client ──▶ [accept] ──▶ one of the [threads] ──▶ [serve]: TLS, HTTP/1.1 or 2
//!                                plain and whole: [fast] ◀──┴──▶ everything else: hyper, [upstream]
//!                                                   │               │
//!                                                   └──▶ [door] ◀───┘ ── lent connection ──▶ app in a sandbox
//!                                                         │  ▲
//!                                 host, user or path: [target], key: [credentials]
//!                                                         ▼  │
//!                                                    [passages], which asks control by [routes], unless [changes] says nothing
//! ```

pub mod credentials;
pub mod headers;
pub mod host;
pub mod limits;
pub mod refusal;
pub mod routes;
pub mod target;
pub mod tls;
pub mod trusted;

mod accept;
mod body;
mod changes;
mod counted;
mod crowds;
mod door;
mod fast;
mod lengths;
mod mask;
mod passages;
mod serve;
mod tally;
mod threads;
mod upgrade;
mod upstream;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;

use crate::dial::Dial;
use door::Door;
use host::Domain;
use limits::Limits;
use passages::Passages;
use routes::Routes;
use tally::Tally;
use tls::Certificates;
use trusted::Trusted;
use upstream::Upstreams;
use wire::clock::Clock;

/// What the ingress is made of.
pub struct Config {
    /// What the names of sandboxes end with.
    pub domain: Domain,
    /// Says where requests may go.
    pub routes: Arc<dyn Routes>,
    /// Where that is said to change; without it, each request is asked for.
    pub changes: Option<PathBuf>,
    /// What time it is, for what is over at a time.
    pub clock: Arc<dyn Clock>,
    /// Makes connections there.
    pub dial: Arc<dyn Dial>,
    /// Proves who we are.
    pub certificates: Arc<Certificates>,
    /// Whether those who speak no TLS are served too, on the same address: proxies of ours, and who asks for a tunnel.
    pub plain: bool,
    /// Who may say for whom it asks.
    pub trusted: Trusted,
    /// How much and how long.
    pub limits: Limits,
}

/// The ingress.
#[derive(Clone)]
pub struct Ingress {
    door: Arc<Door>,
    certificates: Arc<Certificates>,
    tls: Arc<ServerConfig>,
    plain: bool,
}

impl Ingress {
    /// Puts it together.
    pub fn new(config: Config) -> Self {
        let Config { domain, routes, changes, clock, dial, certificates, plain, trusted, limits } = config;
        let tally = Arc::new(Tally::default());
        let passages = Passages::new(routes, changes, clock, tally.clone());
        let upstreams = Upstreams::new(dial, limits.clone(), tally.clone());
        let door = Arc::new(Door::new(domain, limits, tally, passages, trusted, upstreams));
        let tls = certificates.server_config();
        Self { door, certificates, tls, plain }
    }
}
