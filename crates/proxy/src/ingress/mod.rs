//! The way in: a front door that asks who it is, finds the way and streams.
//!
//! ```text
//!  client ── TLS, HTTP/1.1 or 2 ──▶ [serve] ─▶ [door] ─▶ [upstream] ── lent connection ──▶ app in a sandbox
//!                                               │  ▲
//!                         host, user or path: [target], key: [credentials]
//!                                               ▼  │
//!                                            [routes], which asks control, for every request
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

mod body;
mod crowds;
mod door;
mod mask;
mod serve;
mod upgrade;
mod upstream;

use std::sync::Arc;

use rustls::ServerConfig;

use crate::dial::Dial;
use door::Door;
use host::Domain;
use limits::Limits;
use routes::Routes;
use tls::Certificates;
use trusted::Trusted;

/// What the ingress is made of.
pub struct Config {
    /// What the names of sandboxes end with.
    pub domain: Domain,
    /// Says where requests may go.
    pub routes: Arc<dyn Routes>,
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
        let Config { domain, routes, dial, certificates, plain, trusted, limits } = config;
        let (door, tls) =
            (Arc::new(Door::new(domain, routes, dial, trusted, limits)), certificates.server_config());
        Self { door, certificates, tls, plain }
    }
}
