//! Control's process.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use acme::Validity;
use anyhow::{Context, Result};
use control::Control;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use wire::public::team::TeamLimits;

use super::layout::{Layout, make_dir, read_or_make};
use super::settings::Resolved;
use crate::clock::SystemClock;

/// Upper bounds of the latency histograms, in seconds: from an answer out of memory to a command of minutes.
const LATENCY_BUCKETS_SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0];
/// Between two merges of what was counted.
const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The metric of when the certificate of the ingress expires.
const CERTIFICATE_EXPIRY: &str = "atoll_ingress_certificate_expires_at_seconds";

/// What control is told at its start.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    data_dir: PathBuf,
    node_socket: PathBuf,
    /// Where the ingress asks.
    ingress_socket: PathBuf,
    /// Where it sees that something changed.
    changes: PathBuf,
    /// What stands in URLs of the ingress after a sandbox's name or a token, and a dot.
    ingress_authority: String,
    /// The first API key, for a store that has none.
    first_key: String,
    /// What a team may have, where nothing else was set for it.
    team: TeamLimits,
    /// Hours for which events can be read.
    event_retention_hours: u32,
    /// Room on the disk below which no sandbox is made.
    disk_reserve_mib: u64,
    /// The operator's secrets keys; absent, control keeps its own.
    secrets_keys: Option<String>,
    /// Hours between two removals of images that nobody needs; 0: never.
    prune_interval_hours: u32,
    /// The chain of certificates that the ingress proves itself with.
    ingress_chain: PathBuf,
    /// The process that keeps this one alive.
    server: u32,
}

/// Who control runs as: the service user, if we may choose.
pub fn service_uid(settings: &Resolved) -> Option<u32> {
    rustix::process::geteuid().is_root().then_some(settings.service_uid)
}

/// Writes down what control will be told, for its eyes only.
///
/// # Errors
/// When a directory or file cannot be made.
pub fn give_orders(layout: &Layout, settings: &Resolved, ingress: SocketAddr) -> Result<()> {
    let owner = service_uid(settings);
    make_dir(&layout.control_dir(), 0o700)?;
    chown(layout.control_dir(), owner, owner).context("control's directory")?;
    let orders = Orders {
        data_dir: layout.control_dir(),
        node_socket: layout.node_socket(),
        ingress_socket: layout.ingress_socket(),
        changes: layout.changes(),
        ingress_authority: super::ingress::authority(settings, ingress),
        first_key: read_or_make(&layout.api_key(), 0o600, || Ok(control::keys::generate()?))?,
        team: settings.team,
        event_retention_hours: settings.event_retention_hours,
        disk_reserve_mib: super::room::reserve_mib(settings),
        secrets_keys: settings.secrets_key_file.as_deref().map(read_keys).transpose()?,
        prune_interval_hours: settings.prune_interval_hours,
        ingress_chain: layout.ingress_chain(),
        server: std::process::id(),
    };
    let path = layout.control_orders();
    let _ = fs::remove_file(&path);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
    chown(&path, owner, owner)?;
    Ok(file.write_all(&serde_json::to_vec(&orders)?)?)
}

/// Read here, for the operator's file need not be the service user's to read.
fn read_keys(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .with_context(|| format!("the secrets key file {} cannot be read", path.display()))
}

/// Merges what was counted since the last time, without which it would be kept one by one.
async fn keep_small(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(METRICS_UPKEEP_INTERVAL).await;
        metrics.run_upkeep();
    }
}

/// Until when the certificate of the ingress counts, as a line of the metrics: whatever keeps it from being renewed, this
/// number stops to grow.
fn expiry(chain: &Path) -> String {
    let validity = fs::read_to_string(chain).ok().and_then(|text| Validity::of_pem(&text));
    let Some(validity) = validity else { return String::new() };
    format!(
        "# HELP {CERTIFICATE_EXPIRY} Until when the certificate of the ingress counts, in seconds since 1970.\n\
         # TYPE {CERTIFICATE_EXPIRY} gauge\n{CERTIFICATE_EXPIRY} {}\n",
        validity.until.as_second()
    )
}

/// Whether control is ready to serve.
pub async fn is_ready(address: SocketAddr) -> bool {
    ask_ready(address).await.unwrap_or(false)
}

async fn ask_ready(address: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    Ok(&answer == b"HTTP/1.1 200")
}

/// Control: serves the API until it is told to stop.
///
/// # Errors
/// When its store cannot be opened, or the socket fails.
pub async fn run(orders: &Path) -> Result<()> {
    super::logging::init("info");
    let orders: Orders = serde_json::from_slice(&fs::read(orders)?).context("control's orders")?;
    super::child::die_with(orders.server)?;
    let metrics = PrometheusBuilder::new().set_buckets(&LATENCY_BUCKETS_SECONDS)?.install_recorder()?;
    tokio::spawn(keep_small(metrics.clone()));
    let control = Control::open(control::Config {
        data_dir: orders.data_dir,
        nodes: vec![control::NodeAddress { socket: orders.node_socket }],
        clock: Arc::new(SystemClock),
        first_key: Some(orders.first_key),
        secrets_keys: orders.secrets_keys,
        limits: control::Limits {
            team: orders.team,
            disk_reserve_mib: orders.disk_reserve_mib,
            event_retention: hours(orders.event_retention_hours),
            prune_interval: Some(hours(orders.prune_interval_hours)).filter(|interval| !interval.is_zero()),
            ..Default::default()
        },
        metrics: control::MetricsPage::new(move || metrics.render() + &expiry(&orders.ingress_chain)),
        ingress_authority: orders.ingress_authority,
        changes: Some(orders.changes),
    })
    .await?;
    // Its directory is entered by nobody else.
    tokio::spawn(control.guide(super::ingress::listen(&orders.ingress_socket, None, 0o666)?));
    let listener = std::net::TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let shutdown = async move {
        terminate.recv().await;
    };
    control.serve(tokio::net::TcpListener::from_std(listener)?, shutdown).await;
    Ok(())
}

fn hours(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 60 * 60)
}
