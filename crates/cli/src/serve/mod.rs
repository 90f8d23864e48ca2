//! `atoll serve`: one command, several processes.
//!
//! This one owns the data directory and the listening socket, and keeps the
//! others alive. The *node* is root and runs machines; *control* and the
//! *ingress* parse what strangers send and are nobody, and so is *acme*, which
//! has certificates issued where that is set. When this process ends
//! they end, and sandboxes go on, to be found again at the next start.

mod acme;
mod certificate;
mod child;
mod control;
mod ingress;
mod ingress_limits;
mod layout;
mod logging;
mod node;
mod registries;
mod room;
mod settings;
mod snapshots;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::Signal;
use tokio::signal::unix::{Signal as Arrivals, SignalKind, signal};

use certificate::Certificate;
use child::{Child, Role};
use layout::Layout;
use settings::EngineKind;
pub use settings::{Resolved, Settings};

use crate::client::Client;
use crate::commands::template;
use wire::sandbox::defaults;

pub use acme::run as acme_role;
pub use control::run as control_role;
pub use ingress::run as ingress_role;
pub use node::run as node_role;
pub use room::examine as examine_disk;

/// Each process has so long to be ready at the start; a node adopts its sandboxes in this time.
const START_BOUND: Duration = Duration::from_secs(60);
/// Control, the ingress and what has certificates issued each have so long to finish what they are doing when the server stops.
const DRAIN_BOUND: Duration = Duration::from_secs(15);
/// A node has so long to hand over or, if ephemeral, to delete everything.
const NODE_STOP_BOUND: Duration = Duration::from_secs(60);

/// Serves the API and runs sandboxes on this host.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// The configuration file [default: /etc/atoll/atoll.toml, if there is one].
    #[arg(long, env = "ATOLL_CONFIG")]
    config: Option<PathBuf>,
    /// Deletes every sandbox when the server stops, instead of leaving them to the next start.
    #[arg(long)]
    ephemeral: bool,
    /// Allows `--engine fake`, which runs everybody's code on this host without any isolation.
    #[arg(long)]
    unsafe_fake_engine: bool,
    /// Pauses the node at steps named by files in this directory, for tests that kill something there.
    #[arg(long, hide = true)]
    unsafe_hold_steps: Option<PathBuf>,
}

impl Serve {
    /// Serves until SIGTERM or Ctrl-C.
    ///
    /// # Errors
    /// When the server cannot start, or a part of it cannot be kept alive.
    pub async fn run(self) -> Result<ExitCode> {
        logging::init("warn");
        let settings = self.settings.clone().resolve(self.config.as_deref())?;
        self.check(&settings)?;
        room::check(&settings.data_dir)?;
        let layout = Layout::open(&settings.data_dir, &run_base(&settings))?;
        let _lock = layout.lock()?;
        let listeners = Listeners::bind(&settings)?;
        let certificate = Certificate::prepare(&layout, &settings, ingress::uid(&settings))?;
        node::give_orders(&layout, &settings, self.ephemeral, self.unsafe_hold_steps.clone())?;
        let (address, ingress_address) = listeners.addresses()?;
        control::give_orders(&layout, &settings, ingress_address)?;
        ingress::give_orders(&layout, &settings, &certificate)?;
        if let Some(acme) = &settings.acme {
            acme::give_orders(&layout, &settings, acme)?;
        }
        let mut parts = Parts::start(&layout, &settings, listeners).await?;
        // Whoever reads that we serve may ask us to stop in the same moment.
        let mut terminate = signal(SignalKind::terminate())?;
        greet(&layout, &settings, address, ingress_address);
        ingress::greet(&certificate, &settings, ingress_address);
        let outcome = tokio::select! {
            outcome = parts.keep_alive(&mut terminate) => outcome,
            never = build_default_template(&layout, &settings, address) => match never {},
            never = certificate.keep() => match never {},
        };
        parts.stop(self.ephemeral).await;
        layout.tidy();
        outcome.map(|()| ExitCode::SUCCESS)
    }

    fn check(&self, settings: &Resolved) -> Result<()> {
        let is_root = rustix::process::geteuid().is_root();
        if settings.engine == EngineKind::Fake && !self.unsafe_fake_engine {
            bail!("the fake engine isolates nothing; it is for tests, and needs --unsafe-fake-engine");
        }
        if settings.engine == EngineKind::Gvisor && !is_root {
            bail!("gVisor machines need namespaces, mounts and cgroups; run this as root");
        }
        if is_root { reachable(&settings.data_dir, settings.service_uid) } else { Ok(()) }
    }
}

/// Sockets live in a short path; only root has the usual one.
fn run_base(settings: &Resolved) -> PathBuf {
    if rustix::process::geteuid().is_root() { "/run/atoll".into() } else { settings.data_dir.join("run") }
}

/// Control runs as a user of its own, who must be able to walk to its directory.
fn reachable(data_dir: &Path, service_uid: u32) -> Result<()> {
    if service_uid == 0 {
        return Ok(());
    }
    for directory in data_dir.ancestors().skip(1) {
        let Ok(metadata) = std::fs::metadata(directory) else { continue };
        if metadata.permissions().mode() & 0o001 == 0 {
            bail!(
                "the service user ({service_uid}) cannot pass through {} to {}; \
                 choose a --data-dir that others can reach, such as /var/lib/atoll",
                directory.display(),
                data_dir.display()
            );
        }
    }
    Ok(())
}

fn greet(layout: &Layout, settings: &Resolved, address: SocketAddr, ingress_address: SocketAddr) {
    println!("Atoll serves http://{address}");
    println!(
        "  sandboxes run on {:?}; everything is kept in {}",
        settings.engine,
        settings.data_dir.display()
    );
    let authority = ingress::authority(settings, ingress_address);
    println!("  their ports answer at https://<sandbox>-<port>.{authority}");
    println!("  export ATOLL_URL=http://{address}");
    println!("  export ATOLL_API_KEY=$(cat {})", layout.api_key().display());
}

/// Builds the template users get when they name none, behind the open door; it is there already on most starts.
async fn build_default_template(
    layout: &Layout,
    settings: &Resolved,
    address: SocketAddr,
) -> std::convert::Infallible {
    if settings.system_templates {
        let build = async {
            let key = std::fs::read_to_string(layout.api_key())?;
            template::build(&Client::new(&format!("http://{address}"), &key), defaults::TEMPLATE, false).await
        };
        if let Err(error) = build.await {
            eprintln!("atoll: {} could not be built: {error:#}", defaults::TEMPLATE);
            eprintln!("atoll: when that is mended, run `atoll template build {}`", defaults::TEMPLATE);
        }
    }
    std::future::pending().await
}

/// Where a server listens.
struct Listeners {
    api: TcpListener,
    ingress: TcpListener,
}

impl Listeners {
    fn bind(settings: &Resolved) -> Result<Self> {
        let bind = |address: SocketAddr, setting: &str| {
            let what = || format!("{address} cannot be listened on; {setting} chooses another address");
            TcpListener::bind(address).with_context(what)
        };
        let api = bind(settings.listen, "--listen")?;
        Ok(Self { api, ingress: bind(settings.ingress.listen, "--ingress-listen")? })
    }

    fn addresses(&self) -> Result<(SocketAddr, SocketAddr)> {
        Ok((self.api.local_addr()?, self.ingress.local_addr()?))
    }
}

/// Waits for the end of a process, if there is one.
async fn ended(part: &mut Option<Child>) -> (&mut Child, std::io::Result<ExitStatus>) {
    match part {
        Some(part) => {
            let status = part.ended().await;
            (part, status)
        }
        None => std::future::pending().await,
    }
}

/// The processes of a server.
struct Parts {
    node: Child,
    control: Child,
    ingress: Child,
    acme: Option<Child>,
}

impl Parts {
    async fn start(layout: &Layout, settings: &Resolved, listeners: Listeners) -> Result<Self> {
        let address = listeners.api.local_addr()?;
        let mut node = Child::start(Role::Node { orders: layout.node_orders() })?;
        node.ready(START_BOUND, || node::is_ready(layout)).await.context("the node did not start")?;
        let role = Role::Control {
            orders: layout.control_orders(),
            listener: listeners.api,
            service_uid: control::service_uid(settings),
        };
        let mut control = Child::start(role)?;
        control.ready(START_BOUND, || control::is_ready(address)).await.context("control did not start")?;
        let (orders, uid) = (layout.ingress_orders(), ingress::uid(settings));
        // Whoever comes before it is ready waits in the listener's queue.
        let ingress = Child::start(Role::Ingress { orders, listener: listeners.ingress, uid })?;
        let acme = acme::role(layout, settings).map(Child::start).transpose()?;
        Ok(Self { node, control, ingress, acme })
    }

    /// Starts again what ends, until a signal asks for the end of all.
    async fn keep_alive(&mut self, terminate: &mut Arrivals) -> Result<()> {
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                result = tokio::signal::ctrl_c() => return Ok(result?),
                status = self.node.ended() => self.node.again(status).await?,
                status = self.control.ended() => self.control.again(status).await?,
                status = self.ingress.ended() => self.ingress.again(status).await?,
                (acme, status) = ended(&mut self.acme) => acme.again(status).await?,
            }
        }
    }

    /// The ingress and then control finish what they are doing, then the node hands over.
    async fn stop(&mut self, ephemeral: bool) {
        let began = Instant::now();
        if let Some(acme) = &mut self.acme {
            acme.stop(Signal::TERM, DRAIN_BOUND).await;
        }
        self.ingress.stop(Signal::TERM, DRAIN_BOUND).await;
        self.control.stop(Signal::TERM, DRAIN_BOUND).await;
        self.node.stop(Signal::TERM, NODE_STOP_BOUND).await;
        let what = if ephemeral {
            "every sandbox was deleted"
        } else {
            "sandboxes go on; the next start finds them"
        };
        println!("Atoll has stopped after {} ms: {what}", began.elapsed().as_millis());
    }
}
