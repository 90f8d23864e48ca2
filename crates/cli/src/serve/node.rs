//! The node's process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use artifact::pull::Puller;
use engine::Engine;
use engine::steps::Faults;
use runner::Runner;
use runner::sandbox::pulse::Pulse;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use wire::id::NodeId;
use wire::node::Capacity;

use super::layout::{Layout, make_dir};
use super::settings::{EngineKind, Resolved};
use crate::clock::SystemClock;

/// Bring-ups at once for each CPU of the host.
const BRING_UPS_PER_CPU: usize = 2;
/// A sandbox dozes when nobody has talked to it for so long.
const DOZE_AFTER: Duration = Duration::from_secs(2);
/// A sandbox that says nothing for so long, although it is asked, is lost: longer than any host is busy.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A killed node has so long to be gone.
const LOCK_BOUND: Duration = Duration::from_secs(20);

/// What the node is told at its start.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    id: NodeId,
    socket: PathBuf,
    socket_gid: Option<u32>,
    ports_socket: PathBuf,
    ports_gid: Option<u32>,
    records_dir: PathBuf,
    plain_dir: PathBuf,
    snapshots: super::snapshots::Orders,
    images_dir: PathBuf,
    engine_dir: PathBuf,
    engine_run_dir: PathBuf,
    cgroup_parent: String,
    engine: EngineKind,
    runsc: PathBuf,
    capacity: Capacity,
    disk_reserve_mib: u64,
    precise_timers: bool,
    registries: artifact::oci::Settings,
    ephemeral: bool,
    hold_steps: Option<PathBuf>,
    /// Held by the one node that works here.
    lock: PathBuf,
    /// The process that keeps this one alive.
    server: u32,
}

/// Writes down what the node will be told.
///
/// # Errors
/// When a directory or the file cannot be made.
pub fn give_orders(
    layout: &Layout,
    settings: &Resolved,
    ephemeral: bool,
    hold_steps: Option<PathBuf>,
) -> Result<()> {
    let engine_run_dir = layout.engine_run_dir();
    // The fake engine's machines are unprivileged and live in it; a real engine's have no business there.
    make_dir(&engine_run_dir, if settings.engine == EngineKind::Fake { 0o711 } else { 0o700 })?;
    let orders = Orders {
        id: layout.node_id()?,
        socket: layout.node_socket(),
        socket_gid: super::control::service_uid(settings),
        ports_socket: layout.ports_socket(),
        ports_gid: super::ingress::uid(settings),
        records_dir: layout.node_dir("records"),
        plain_dir: layout.node_dir("plain"),
        snapshots: super::snapshots::Orders::of(
            layout,
            settings.snapshot_bucket.clone(),
            settings.secrets_key_file.as_deref(),
        )?,
        images_dir: layout.node_dir("images"),
        engine_dir: layout.node_dir("engine"),
        engine_run_dir,
        cgroup_parent: format!("atoll-{}", layout.instance),
        engine: settings.engine,
        runsc: settings.runsc.clone(),
        capacity: settings.capacity,
        disk_reserve_mib: super::room::reserve_mib(settings),
        precise_timers: settings.precise_timers,
        registries: settings.registries.clone(),
        ephemeral,
        hold_steps,
        lock: layout.node_dir("lock"),
        server: std::process::id(),
    };
    let path = layout.node_orders();
    fs::write(&path, serde_json::to_vec_pretty(&orders)?)
        .with_context(|| format!("the node's orders cannot be written to {}", path.display()))
}

/// Whether the node answers.
pub async fn is_ready(layout: &Layout) -> bool {
    UnixStream::connect(layout.node_socket()).await.is_ok()
}

/// The node: runs machines until it is told to stop.
///
/// # Errors
/// When its engine cannot be opened, or its socket fails.
pub async fn run(orders: &Path) -> Result<()> {
    super::logging::init("info");
    let orders: Orders = serde_json::from_slice(&fs::read(orders)?).context("the node's orders")?;
    super::child::die_with(orders.server)?;
    let _lock = lock(&orders.lock).await?;
    let faults = Faults::holding(orders.hold_steps.clone());
    let images = artifact::Images::open(&orders.images_dir)?;
    let snapshots = orders.snapshots.settings()?;
    let runner = Runner::open(runner::Config {
        id: orders.id.clone(),
        records_dir: orders.records_dir.clone(),
        plain_dir: orders.plain_dir.clone(),
        snapshots,
        puller: Puller::open(images.clone(), orders.registries.clone(), unpacker())?,
        images,
        engine: open_engine(&orders, faults.clone())?,
        pulse: Pulse { silence_max: SILENCE_MAX },
        faults,
        clock: Arc::new(SystemClock),
        capacity: orders.capacity,
        disk_reserve_mib: orders.disk_reserve_mib,
        doze_after: (!orders.precise_timers).then_some(DOZE_AFTER),
        bring_ups_max: BRING_UPS_PER_CPU * std::thread::available_parallelism().map_or(1, usize::from),
    })
    .await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let shutdown = async move {
        terminate.recv().await;
    };
    let ports = &orders.ports_socket;
    let ports = super::ingress::listen_by(ports, orders.ports_gid, 0o660, Runner::listen_for_links)?;
    let socket = super::ingress::listen(&orders.socket, orders.socket_gid, 0o660)?;
    tokio::select! {
        served = runner.serve(socket, shutdown) => served?,
        () = runner.lend_ports(ports) => {}
    }
    if orders.ephemeral {
        runner.supervisor().delete_all().await;
    }
    runner.close().await;
    Ok(())
}

/// Waits for the end of the node that an earlier server of ours left: killed, it may be in the middle of a system
/// call, and two must not work on the same sandboxes.
async fn lock(path: &Path) -> Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    let locking = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
    let locked = tokio::time::timeout(LOCK_BOUND, locking).await;
    Ok(locked.with_context(|| format!("another node holds {}", path.display()))???)
}

/// This program, as what unpacks images. By our own number, not by `self`, which would be whoever starts it.
fn unpacker() -> Vec<OsString> {
    vec![format!("/proc/{}/exe", std::process::id()).into(), "role".into(), "unpacker".into()]
}

fn open_engine(orders: &Orders, faults: Faults) -> Result<Engine> {
    match orders.engine {
        EngineKind::Gvisor => {
            let config = engine::gvisor::Config {
                runsc: orders.runsc.clone(),
                agent: engine::agent::install(&orders.engine_dir.join("agent"))?,
                dir: orders.engine_dir.clone(),
                run_dir: orders.engine_run_dir.clone(),
                cgroup_parent: orders.cgroup_parent.clone(),
                launcher: vec!["/proc/self/exe".into(), "role".into(), "launcher".into()],
                faults,
            };
            Ok(Engine::Gvisor(engine::gvisor::Gvisor::open(config)?))
        }
        EngineKind::Fake => {
            let dir = orders.engine_run_dir.clone();
            Ok(Engine::Fake(engine::fake::Fake::new(dir, faults, Default::default())?))
        }
    }
}
