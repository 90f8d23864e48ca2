//! Speaks `wire::node` to one node. Every wait has a bound; every answer a size.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::id::SandboxId;
use wire::node::{
    BuildEvent, BuildSystemImage, DeleteSandbox, GUEST_CONTENT_TYPE, Inspection, Leak, NodeError,
    NodeErrorCode, NodeReport, Observed, PauseSandbox, PruneImages, PruneSnapshots, Pruned, PullEvent,
    PullImage, PutDeadline, PutSandbox, TakeSnapshot, TakenSnapshot, WakeSandbox,
};
use wire::snapshot::Root;

use super::connect::UnixConnector;
use super::guest::{self, GuestAnswer, Upload};
use super::lines::Lines;
use crate::error::Source;
use crate::finite::finite_body;

/// How long a node may take to say something it knows.
const QUERY_SECONDS_MAX: u64 = 5;

/// How long a node may take to write down when a sandbox is to end.
const DEADLINE_SECONDS_MAX: u64 = 30;

/// How long a node may take to look at a sandbox and the host.
const INSPECT_SECONDS_MAX: u64 = 30;

/// How long a node may take to look at its images or snapshots and remove some.
const PRUNE_SECONDS_MAX: u64 = 120;

/// How long a node may take to bring a sandbox up or down, what it starts with left out.
const SETTLE_SECONDS_MAX: u64 = 120;

/// How long a node may take to pause a sandbox, or to take a snapshot of it: longer than it gives itself.
const PAUSE_SECONDS_MAX: u64 = 690;

/// The same of waking one.
const WAKE_SECONDS_MAX: u64 = 390;

/// How long a node may take to begin its answer to a request for the agent.
const GUEST_SECONDS_MAX: u64 = 30;

/// An answer that is not a stream, in bytes, at most.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Connections kept open while nobody needs them.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// How long they are kept.
const IDLE_SECONDS_MAX: Duration = Duration::from_secs(60);

/// Why a node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeFailure {
    /// It said no.
    #[error("the node refused")]
    Refused(#[source] NodeError),
    /// It cannot be talked to.
    #[error("the node cannot be reached")]
    Unreachable(#[source] Source),
    /// It took longer than its bound.
    #[error("{what} took longer than {seconds} s")]
    Slow {
        /// What did.
        what: &'static str,
        /// The bound.
        seconds: u64,
    },
    /// It said something that is not `wire::node`.
    #[error("the node does not keep to the protocol")]
    Malformed(#[source] Source),
}

impl NodeFailure {
    pub(super) fn unreachable(source: impl Into<Source>) -> Self {
        Self::Unreachable(source.into())
    }

    pub(super) fn malformed(source: impl Into<Source>) -> Self {
        Self::Malformed(source.into())
    }
}

type CallBody = UnsyncBoxBody<Bytes, Source>;

/// What can be asked of one node.
pub struct NodeClient {
    http: Client<UnixConnector, CallBody>,
}

impl NodeClient {
    /// Of the node that listens on this socket. Connects when it is first asked something.
    pub fn new(socket: &Path) -> Self {
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_SECONDS_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(UnixConnector::new(socket));
        Self { http }
    }

    /// Who and how big it is.
    pub async fn report(&self) -> Result<NodeReport, NodeFailure> {
        self.get("asking the node how it is", "/v1/node", QUERY_SECONDS_MAX).await
    }

    /// Wants this sandbox; answers once it runs or is dead.
    pub async fn put(&self, id: &SandboxId, put: &PutSandbox) -> Result<Observed, NodeFailure> {
        let request = json_request(Method::PUT, &format!("/v1/sandboxes/{id}"), put)?;
        let seconds = SETTLE_SECONDS_MAX + put.spec.ready_wait().as_secs();
        self.json("bringing the sandbox up", request, seconds).await
    }

    /// Wants this sandbox to end at another moment; answers once that outlives the node's process.
    pub async fn put_deadline(&self, id: &SandboxId, put: &PutDeadline) -> Result<Observed, NodeFailure> {
        let request = json_request(Method::PUT, &format!("/v1/sandboxes/{id}/deadline"), put)?;
        self.json("changing when the sandbox is to end", request, DEADLINE_SECONDS_MAX).await
    }

    /// Wants this sandbox paused; answers once it is.
    pub async fn pause(&self, id: &SandboxId, pause: &PauseSandbox) -> Result<Observed, NodeFailure> {
        let request = json_request(Method::PUT, &format!("/v1/sandboxes/{id}/pause"), pause)?;
        self.json("pausing the sandbox", request, PAUSE_SECONDS_MAX).await
    }

    /// Takes a snapshot of this sandbox; answers once it is durable.
    pub async fn snapshot(&self, id: &SandboxId, order: &TakeSnapshot) -> Result<TakenSnapshot, NodeFailure> {
        let request = json_request(Method::POST, &format!("/v1/sandboxes/{id}/snapshot"), order)?;
        self.json("taking the snapshot", request, PAUSE_SECONDS_MAX).await
    }

    /// Takes this snapshot away.
    pub async fn remove_snapshot(&self, root: &Root) -> Result<(), NodeFailure> {
        let path = format!("/v1/snapshots/{root}");
        let request = request(Method::DELETE, &path, None, full(Bytes::new()))?;
        self.json("removing the snapshot", request, SETTLE_SECONDS_MAX).await
    }

    /// Takes away what nobody needs of snapshots, or says what that is.
    pub async fn prune_snapshots(&self, order: &PruneSnapshots) -> Result<Pruned, NodeFailure> {
        let request = json_request(Method::POST, "/v1/snapshots/prune", order)?;
        self.json("pruning snapshots", request, PRUNE_SECONDS_MAX).await
    }

    /// Wants this sandbox, which is paused, to run; answers once it does.
    pub async fn wake(&self, id: &SandboxId, wake: &WakeSandbox) -> Result<Observed, NodeFailure> {
        let request = json_request(Method::PUT, &format!("/v1/sandboxes/{id}/wake"), wake)?;
        self.json("waking the sandbox", request, WAKE_SECONDS_MAX).await
    }

    /// Wants this sandbox gone; answers once it is.
    pub async fn delete(&self, id: &SandboxId, delete: &DeleteSandbox) -> Result<Observed, NodeFailure> {
        let request = json_request(Method::DELETE, &format!("/v1/sandboxes/{id}"), delete)?;
        self.json("taking the sandbox down", request, SETTLE_SECONDS_MAX).await
    }

    /// What it says of one sandbox; `None` if it does not know it.
    pub async fn observed(&self, id: &SandboxId) -> Result<Option<Observed>, NodeFailure> {
        let path = format!("/v1/sandboxes/{id}");
        match self.get("asking the node for a sandbox", &path, QUERY_SECONDS_MAX).await {
            Err(NodeFailure::Refused(refusal)) if refusal.code == NodeErrorCode::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// What it says of every sandbox it has.
    pub async fn all_observed(&self) -> Result<Vec<Observed>, NodeFailure> {
        self.get("asking the node for its sandboxes", "/v1/sandboxes", QUERY_SECONDS_MAX).await
    }

    /// All it can find out about one sandbox.
    pub async fn inspect(&self, id: &SandboxId) -> Result<Inspection, NodeFailure> {
        self.get("inspecting the sandbox", &format!("/v1/sandboxes/{id}/inspect"), INSPECT_SECONDS_MAX).await
    }

    /// What is on its host and has no owner.
    pub async fn leaks(&self) -> Result<Vec<Leak>, NodeFailure> {
        self.get("looking for leaks", "/v1/leaks", INSPECT_SECONDS_MAX).await
    }

    /// Every sandbox, then every change, for ever.
    pub async fn changes(&self) -> Result<Lines<Observed>, NodeFailure> {
        let request = empty_request("/v1/changes")?;
        let answer = self.send("listening to the node", request, QUERY_SECONDS_MAX).await?;
        Ok(Lines::new(answer.into_body()))
    }

    /// Builds a system image; its progress.
    pub async fn build(&self, name: &str, locked: bool) -> Result<Lines<BuildEvent>, NodeFailure> {
        let order = BuildSystemImage { name: name.to_owned(), locked };
        let request = json_request(Method::POST, "/v1/images/system", &order)?;
        let answer = self.send("starting the build", request, INSPECT_SECONDS_MAX).await?;
        Ok(Lines::new(answer.into_body()))
    }

    /// Fetches an image of somebody else's; its progress. It goes on if that is not read.
    pub async fn pull(&self, order: &PullImage) -> Result<Lines<PullEvent>, NodeFailure> {
        let request = json_request(Method::POST, "/v1/images/pull", order)?;
        let answer = self.send("starting the pull", request, INSPECT_SECONDS_MAX).await?;
        Ok(Lines::new(answer.into_body()))
    }

    /// Removes images nobody needs, or says which those are.
    pub async fn prune(&self, order: &PruneImages) -> Result<Pruned, NodeFailure> {
        let request = json_request(Method::POST, "/v1/images/prune", order)?;
        self.json("pruning images", request, PRUNE_SECONDS_MAX).await
    }

    /// Asks the agent something that needs no data.
    pub async fn guest(
        &self,
        id: &SandboxId,
        request: &wire::guest::Request,
    ) -> Result<GuestAnswer, NodeFailure> {
        let call = guest_request(id, full(guest::open(request)?))?;
        let answer = self.send("asking the sandbox", call, GUEST_SECONDS_MAX).await?;
        Ok(GuestAnswer::new(answer.into_body()))
    }

    /// Asks the agent something that data goes with. The answer may begin before the data has
    /// ended, and must be awaited while it is sent.
    pub async fn guest_upload(
        &self,
        id: &SandboxId,
        request: &wire::guest::Request,
    ) -> Result<(Upload, impl Future<Output = Result<GuestAnswer, NodeFailure>> + use<>), NodeFailure> {
        let (feeder, body) = finite_body();
        feeder.send(guest::open(request)?).await.map_err(NodeFailure::unreachable)?;
        let call = self.http.request(guest_request(id, body.map_err(Source::from).boxed_unsync())?);
        // The bound is on the data, which the caller sends: see there.
        let answer = async {
            let answer = accepted(call.await.map_err(NodeFailure::unreachable)?).await?;
            Ok(GuestAnswer::new(answer.into_body()))
        };
        Ok((Upload(feeder), answer))
    }

    async fn get<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        seconds: u64,
    ) -> Result<T, NodeFailure> {
        self.json(what, empty_request(path)?, seconds).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        what: &'static str,
        request: Request<CallBody>,
        seconds: u64,
    ) -> Result<T, NodeFailure> {
        let call = async {
            let answer =
                accepted(self.http.request(request).await.map_err(NodeFailure::unreachable)?).await?;
            serde_json::from_slice(&whole(answer.into_body()).await?).map_err(NodeFailure::malformed)
        };
        bounded(what, seconds, call).await
    }

    /// Sends a request whose answer is a stream: the bound is on its beginning.
    async fn send(
        &self,
        what: &'static str,
        request: Request<CallBody>,
        seconds: u64,
    ) -> Result<Response<Incoming>, NodeFailure> {
        let call =
            async { accepted(self.http.request(request).await.map_err(NodeFailure::unreachable)?).await };
        bounded(what, seconds, call).await
    }
}

async fn bounded<T>(
    what: &'static str,
    seconds: u64,
    call: impl Future<Output = Result<T, NodeFailure>>,
) -> Result<T, NodeFailure> {
    let slow = |_| NodeFailure::Slow { what, seconds };
    tokio::time::timeout(Duration::from_secs(seconds), call).await.map_err(slow)?
}

/// The answer, unless it is a refusal.
async fn accepted(answer: Response<Incoming>) -> Result<Response<Incoming>, NodeFailure> {
    if answer.status() == StatusCode::OK {
        return Ok(answer);
    }
    let status = answer.status();
    let refusal = serde_json::from_slice::<NodeError>(&whole(answer.into_body()).await?);
    Err(match refusal {
        Ok(refusal) => NodeFailure::Refused(refusal),
        Err(error) => NodeFailure::malformed(format!("status {status} without a reason: {error}")),
    })
}

async fn whole(body: Incoming) -> Result<Bytes, NodeFailure> {
    let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(NodeFailure::unreachable)?;
    Ok(whole.to_bytes())
}

fn full(bytes: Bytes) -> CallBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn empty_request(path: &str) -> Result<Request<CallBody>, NodeFailure> {
    request(Method::GET, path, None, full(Bytes::new()))
}

fn json_request(method: Method, path: &str, body: &impl Serialize) -> Result<Request<CallBody>, NodeFailure> {
    let body = serde_json::to_vec(body).map_err(NodeFailure::malformed)?;
    request(method, path, Some("application/json"), full(body.into()))
}

fn guest_request(id: &SandboxId, body: CallBody) -> Result<Request<CallBody>, NodeFailure> {
    request(Method::POST, &format!("/v1/sandboxes/{id}/guest"), Some(GUEST_CONTENT_TYPE), body)
}

fn request(
    method: Method,
    path: &str,
    kind: Option<&str>,
    body: CallBody,
) -> Result<Request<CallBody>, NodeFailure> {
    let mut builder = Request::builder().method(method).uri(format!("http://node{path}"));
    if let Some(kind) = kind {
        builder = builder.header(header::CONTENT_TYPE, kind);
    }
    builder.body(body).map_err(NodeFailure::malformed)
}
