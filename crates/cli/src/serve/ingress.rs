//! The ingress's process: what strangers and sandboxes say to each other, as nobody in particular.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use proxy::dial::LocalNode;
use proxy::ingress::routes::Control;
use proxy::ingress::tls::Certificates;
use proxy::ingress::trusted::Trusted;
use proxy::ingress::{Config, Ingress};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};

use super::certificate::Certificate;
use super::ingress_limits::IngressLimits;
use super::layout::{Layout, make_dir};
use super::settings::Resolved;
use crate::clock::SystemClock;

/// The port that URLs of `https` mean where they say none.
const HTTPS_PORT: u16 = 443;

/// What the ingress is told at its start.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    domain: String,
    plain: bool,
    trusted: Vec<String>,
    limits: IngressLimits,
    chain: PathBuf,
    key: PathBuf,
    /// Where control says where requests may go.
    control: PathBuf,
    /// Where it says that something changed.
    changes: PathBuf,
    /// Where the node lends connections.
    ports: PathBuf,
    /// The process that keeps this one alive.
    server: u32,
}

/// Who the ingress runs as, if we may choose: a user of its own, who has neither control's files nor its way to the node.
pub fn uid(settings: &Resolved) -> Option<u32> {
    super::control::service_uid(settings).map(|uid| if uid == 0 { 0 } else { uid.wrapping_add(1) })
}

/// What stands in URLs of the ingress that listens here, after a sandbox's name and a dot.
pub fn authority(settings: &Resolved, address: SocketAddr) -> String {
    let (domain, port) = (&settings.ingress.domain, settings.ingress.url_port.unwrap_or(address.port()));
    if port == HTTPS_PORT { domain.to_string() } else { format!("{domain}:{port}") }
}

/// Writes down what the ingress will be told, for its eyes only, and makes the place where it meets control.
///
/// # Errors
/// When a directory or file cannot be made.
pub fn give_orders(layout: &Layout, settings: &Resolved, certificate: &Certificate) -> Result<()> {
    let meeting = layout.ingress_dir();
    make_dir(&meeting, 0o750)?;
    chown(&meeting, super::control::service_uid(settings), uid(settings))?;
    let orders = Orders {
        domain: settings.ingress.domain.to_string(),
        plain: settings.ingress.plain,
        trusted: settings.ingress.trusted.iter().map(ToString::to_string).collect(),
        limits: settings.ingress.limits.clone(),
        chain: certificate.chain.clone(),
        key: certificate.key.clone(),
        control: layout.ingress_socket(),
        changes: layout.changes(),
        ports: layout.ports_socket(),
        server: std::process::id(),
    };
    let path = layout.ingress_orders();
    let _ = fs::remove_file(&path);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
    chown(&path, uid(settings), uid(settings))?;
    Ok(file.write_all(&serde_json::to_vec(&orders)?)?)
}

/// A Unix socket on which the ingress is served. Who may reach it is decided by its directory, or by `gid`.
///
/// # Errors
/// When it cannot be made.
pub fn listen(path: &Path, gid: Option<u32>, mode: u32) -> Result<UnixListener> {
    listen_by(path, gid, mode, |path| UnixListener::bind(path))
}

/// The same, of whatever kind `bind` makes it.
///
/// # Errors
/// When it cannot be made.
pub fn listen_by(
    path: &Path,
    gid: Option<u32>,
    mode: u32,
    bind: impl FnOnce(&Path) -> std::io::Result<UnixListener>,
) -> Result<UnixListener> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("the old socket {}", path.display()));
    }
    let listener = bind(path).with_context(|| format!("the socket {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if gid.is_some() {
        chown(path, None, gid)?;
    }
    Ok(listener)
}

/// The ingress: serves until it is told to stop.
///
/// # Errors
/// When its certificate cannot be read, or the socket fails.
pub async fn run(orders: &Path) -> Result<()> {
    super::logging::init("info");
    let orders: Orders = serde_json::from_slice(&fs::read(orders)?).context("the ingress's orders")?;
    super::child::die_with(orders.server)?;
    let ingress = Ingress::new(Config {
        domain: orders.domain.parse()?,
        routes: Arc::new(Control::new(orders.control)),
        changes: Some(orders.changes),
        clock: Arc::new(SystemClock),
        dial: Arc::new(LocalNode::new(orders.ports)),
        certificates: Certificates::open(orders.chain, orders.key)?,
        plain: orders.plain,
        trusted: Trusted(orders.trusted.iter().map(|network| network.parse()).collect::<Result<_, _>>()?),
        limits: orders.limits.limits(),
    });
    let listener = std::net::TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let shutdown = async move {
        terminate.recv().await;
    };
    ingress.serve(TcpListener::from_std(listener)?, shutdown).await.context("the ingress's threads")
}

/// Tells people how to set up leap0's clients.
pub fn greet(certificate: &Certificate, settings: &Resolved, address: SocketAddr) {
    let host = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
    let authority = certificate.authority.as_ref();
    let believed = authority.map(|path| format!(" SSL_CERT_FILE={}", path.display())).unwrap_or_default();
    println!("  export LEAP0_BASE_URL=$ATOLL_URL LEAP0_API_KEY=$ATOLL_API_KEY");
    println!(
        "  export LEAP0_SANDBOX_DOMAIN=\":$ATOLL_API_KEY@{}\"{believed}",
        SocketAddr::new(host, address.port())
    );
    if let (Some(authority), Some(acme)) = (authority, &settings.acme) {
        println!("  there is no certificate of {} yet: until there is, clients are to", acme.directory);
        println!("  believe {}; why there is none is in the log", authority.display());
    }
}
