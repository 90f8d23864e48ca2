//! A whole fleet in one process.
//!
//! Control and node are the real ones, over a real socket; the clock is the
//! test's, and so are the faults. What a story leaves behind fails it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use artifact::pull::Puller;
use artifact::snapshot::{self, KeyRing};
use artifact::system::Packages;
use control::Control;
use engine::steps::Faults;
use proxy::ingress::limits::Limits;
use runner::Runner;
use runner::sandbox::pulse::Pulse;
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};
use wire::id::{NodeId, SandboxId};
use wire::node::{Capacity, NodeError, Observed, PutSandbox, SandboxSpec};
use wire::sandbox::{Boot, Resources, defaults};

use crate::clock::ManualClock;
use crate::http::Client;
use crate::ingress::Door;
use crate::kept::Kept;
use crate::machines::Kind;
use crate::{bins, images};

/// Where a story asks for steps to be held.
const HOLDS: &str = "holds";
/// A part of the lab has so long to stop.
const STOP_BOUND: Duration = Duration::from_secs(30);
/// What a story waits for has so long to happen.
const EVENTUALLY_BOUND: Duration = Duration::from_secs(180);

/// A fleet to be.
#[derive(Debug, Clone)]
pub struct Builder {
    kind: Kind,
    capacity: Capacity,
    disk_mib: u32,
    processes_max: u32,
    silence_max: Duration,
    registries: artifact::oci::Settings,
    has_bucket: bool,
}

/// A fleet: one control, one node, an engine.
pub struct Lab {
    /// Speaks to control with the first key.
    pub api: Client,
    /// The time, as control and node see it.
    pub clock: Arc<ManualClock>,
    /// Which steps fail.
    pub faults: Faults,
    /// The engine it runs on.
    pub kind: Kind,
    /// What is kept of sandboxes.
    pub kept: Kept,
    key: String,
    address: SocketAddr,
    builder: Builder,
    node: Option<NodePart>,
    control: Option<Part>,
    dir: TempDir,
}

/// Something that serves until it is told to stop.
struct Part {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

struct NodePart {
    runner: Runner,
    serving: Part,
    lending: AbortHandle,
}

impl Lab {
    /// A fleet on this engine, not yet started.
    pub fn on(kind: Kind) -> Builder {
        Builder {
            kind,
            capacity: Capacity { sandboxes: 200, vcpu: 400, memory_mib: 400 * 1024 },
            disk_mib: defaults::DISK_MIB,
            processes_max: defaults::PROCESSES_MAX,
            silence_max: EVENTUALLY_BOUND,
            registries: artifact::oci::Settings::default(),
            has_bucket: false,
        }
    }
}

impl Builder {
    /// A node that holds less.
    pub fn capacity(mut self, sandboxes: u32) -> Self {
        self.capacity.sandboxes = sandboxes;
        self
    }

    /// Sandboxes that can write less.
    pub fn disk_mib(mut self, disk_mib: u32) -> Self {
        self.disk_mib = disk_mib;
        self
    }

    /// Sandboxes that hold fewer processes.
    pub fn processes(mut self, processes_max: u32) -> Self {
        self.processes_max = processes_max;
        self
    }

    /// Agents that say nothing are lost sooner.
    pub fn silence_max(mut self, silence_max: Duration) -> Self {
        self.silence_max = silence_max;
        self
    }

    /// Snapshots that are kept in a bucket.
    pub fn in_bucket(mut self) -> Self {
        self.has_bucket = true;
        self
    }

    /// A node that may speak to these registries ([`crate::registry::Registry::settings`]).
    pub fn registries(mut self, registries: artifact::oci::Settings) -> Self {
        self.registries = registries;
        self
    }

    /// Starts it, with the template built.
    ///
    /// # Panics
    /// When it does not start: the story cannot begin.
    pub async fn start(self) -> Lab {
        self.try_start().await.expect("the lab starts")
    }

    async fn try_start(self) -> Result<Lab> {
        let dir = tempfile::Builder::new().prefix("lab-").rand_bytes(8).tempdir_in("/tmp")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        drop(listener);
        let key = control::keys::generate()?;
        let kept =
            if self.has_bucket { Kept::bucket().await } else { Kept::Disk(dir.path().join("snapshots")) };
        let mut lab = Lab {
            api: Client::new(format!("http://{address}"), key.clone()),
            clock: Arc::default(),
            faults: Faults::holding(Some(dir.path().join(HOLDS))),
            kind: self.kind,
            kept,
            key,
            address,
            builder: self,
            node: None,
            control: None,
            dir,
        };
        lab.start_node().await?;
        lab.start_control().await?;
        let order = serde_json::json!({ "name": images::TEMPLATE });
        lab.api.post("/v1/template/system", order).await.expect(200);
        Ok(lab)
    }
}

impl Lab {
    /// Stops the node's process, in effect: sandboxes go on.
    pub async fn stop_node(&mut self) {
        if let Some(part) = self.node.take() {
            part.lending.abort();
            part.serving.stop().await;
            part.runner.supervisor().abandon();
        }
    }

    /// Starts the node again.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_node(&mut self) -> Result<()> {
        let images = match self.kind {
            Kind::Fake => images::nominal(&self.dir.path().join("images"))?,
            Kind::Gvisor => images::real().await?,
        };
        let unpacker = vec![bins::atoll().into(), "role".into(), "unpacker".into()];
        let runner = Runner::open(runner::Config {
            id: NodeId::from_entropy([1; 20]),
            records_dir: self.dir.path().join("records"),
            plain_dir: self.dir.path().join("plain"),
            snapshots: self.snapshots(),
            puller: Puller::open(images.clone(), self.builder.registries.clone(), unpacker)?,
            images,
            engine: self.kind.open(self.dir.path(), self.faults.clone())?,
            clock: self.clock.clone(),
            capacity: self.builder.capacity,
            disk_reserve_mib: 0,
            bring_ups_max: 4,
            doze_after: Some(Duration::from_millis(200)),
            pulse: Pulse { silence_max: self.builder.silence_max },
            faults: self.faults.clone(),
        })
        .await?;
        let listener = listen(&self.node_socket())?;
        let serving = runner.clone();
        let serving = Part::start(|stop| async move { drop(serving.serve(listener, stop).await) });
        let _ = std::fs::remove_file(self.ports_socket());
        let (lender, ports) = (runner.clone(), Runner::listen_for_links(&self.ports_socket())?);
        let lending = tokio::spawn(async move { lender.lend_ports(ports).await }).abort_handle();
        self.node = Some(NodePart { runner, serving, lending });
        Ok(())
    }

    fn snapshots(&self) -> snapshot::Settings {
        let keys = KeyRing::parse(&format!("lab {}", "5a".repeat(32))).expect("a key");
        snapshot::Settings { place: self.kept.place(), keys }
    }

    /// Stops control's process, in effect.
    pub async fn stop_control(&mut self) {
        if let Some(part) = self.control.take() {
            part.stop().await;
        }
    }

    /// Starts control again, on the same store and address.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_control(&mut self) -> Result<()> {
        let config = control::Config {
            data_dir: self.dir.path().join("control"),
            nodes: vec![control::NodeAddress { socket: self.node_socket() }],
            clock: self.clock.clone(),
            first_key: Some(self.key.clone()),
            secrets_keys: None,
            limits: control::Limits {
                disk_mib: self.builder.disk_mib,
                processes_max: self.builder.processes_max,
                sweep_interval: Duration::from_millis(200),
                snapshot_age: Duration::ZERO,
                ..Default::default()
            },
            metrics: control::MetricsPage::new(String::new),
            ingress_authority: crate::ingress::AUTHORITY.to_owned(),
            changes: Some(self.changes()),
        };
        let control = Control::open(config).await?;
        let listener = TcpListener::bind(self.address).await.context("the lab's address")?;
        let guiding = control.guide(listen(&self.ingress_socket())?);
        self.control = Some(Part::start(|stop| async move {
            tokio::select! {
                () = control.serve(listener, stop) => {}
                () = guiding => {}
            }
        }));
        Ok(())
    }

    /// From now on the node is held once it has reached this step, until [`Hold::release`].
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn hold(&self, step: &str) -> Hold {
        let directory = self.dir.path().join(HOLDS);
        std::fs::create_dir_all(&directory).expect("a directory for holds");
        std::fs::write(directory.join(step), "").expect("a hold");
        Hold(directory.join(format!("{step}.held")))
    }

    /// The node's own view, past control.
    ///
    /// # Panics
    /// When the node is stopped.
    pub fn runner(&self) -> &Runner {
        &self.node.as_ref().expect("the node runs").runner
    }

    /// Makes a sandbox of the template's image past control, with this to start with: what it is once it is settled.
    /// Control knows nothing of it, and must be stopped, or it would dismiss the stranger.
    ///
    /// # Errors
    /// As [`runner::supervisor::Supervisor::put`].
    ///
    /// # Panics
    /// When the template is not built.
    pub async fn put(&self, id: &SandboxId, boot: Boot) -> Result<Observed, NodeError> {
        let supervisor = self.runner().supervisor();
        let recipe = artifact::recipe::Recipe::named(images::TEMPLATE).expect("the recipe is known");
        let image = artifact::system::found(&supervisor.node.images, &recipe, Packages::Preferred)
            .expect("the template is built");
        let spec = SandboxSpec {
            image: image.digest,
            resources: Resources {
                vcpu: defaults::VCPU,
                memory_mib: defaults::MEMORY_MIB,
                disk_mib: self.builder.disk_mib,
                processes_max: self.builder.processes_max,
            },
            timeout_seconds: defaults::TIMEOUT_SECONDS,
            env: image.config.env.unwrap_or_default(),
            workdir: image.config.working_dir,
            user: image.config.user,
            boot: Some(boot),
            auto_pause: false,
            from: None,
        };
        supervisor.put(id.clone(), PutSandbox { generation: 1, spec }).await
    }

    /// Where everything of this lab is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// An ingress of this lab.
    pub async fn ingress(&self, limits: Limits) -> Door {
        Door::open(self, limits).await
    }

    /// The first key.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn changes(&self) -> PathBuf {
        self.dir.path().join("changes")
    }

    pub(crate) fn ports_socket(&self) -> PathBuf {
        self.dir.path().join("ports.sock")
    }

    pub(crate) fn ingress_socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    fn node_socket(&self) -> PathBuf {
        self.dir.path().join("node.sock")
    }

    /// Deletes everything and checks that nothing is left, in the store, on the node or on the host.
    ///
    /// # Panics
    /// When something is left; it is named.
    pub async fn end(mut self) {
        self.faults.clear();
        self.runner().supervisor().delete_all().await;
        let engine = &self.runner().supervisor().node.engine;
        let left = engine.owned().await.expect("the engine lists what it owns");
        assert!(left.is_empty(), "left on the host: {left:#?}");
        self.stop_control().await;
        let runner = self.runner().clone();
        self.stop_node().await;
        runner.close().await;
    }
}

/// A story that failed half way leaves no sandbox on the host.
impl Drop for Lab {
    fn drop(&mut self) {
        let Some(part) = self.node.take() else { return };
        part.runner.supervisor().abandon();
        let clean_up = async move {
            let engine = &part.runner.supervisor().node.engine;
            for owner in engine.owned().await.unwrap_or_default().into_iter().filter_map(|owned| owned.owner)
            {
                drop(engine.down(&owner).await);
            }
            engine.close().await;
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        drop(std::thread::spawn(move || runtime.map(|runtime| runtime.block_on(clean_up))).join());
    }
}

/// A Unix socket of a part that may have listened there before.
fn listen(path: &Path) -> Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    Ok(UnixListener::bind(path)?)
}

/// A step at which the node is held.
pub struct Hold(PathBuf);

impl Hold {
    /// Waits until the step is reached.
    pub async fn reached(&self) {
        eventually("the step is reached", async || self.0.exists()).await;
    }

    /// Lets the node go on.
    ///
    /// # Panics
    /// When it is not held.
    pub fn release(self) {
        std::fs::remove_file(self.0).expect("it is held");
    }
}

impl Part {
    fn start<F>(serve: impl FnOnce(Stop) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let stopped: Stop = Box::pin(async move { drop(stopped.await) });
        Self { stop, task: tokio::spawn(serve(stopped)) }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        tokio::time::timeout(STOP_BOUND, self.task)
            .await
            .expect("it stops in time")
            .expect("it does not panic");
    }
}

type Stop = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits until `holds`, which is asked again and again.
///
/// # Panics
/// When it never does.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < EVENTUALLY_BOUND, "this never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
