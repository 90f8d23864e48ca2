//! A node in the test's process: real HTTP on a real Unix socket, real frames, and a script instead of an engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{self, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::StatusCode;
use tokio::sync::{broadcast, watch};
use wire::clock::Clock;
use wire::guest::frame::{self, Channel, Frame};
use wire::guest::{Done, ExecCause, ExecEnd, Head, Outcome, Request};
use wire::id::{NodeId, SandboxId};
use wire::image::{Digest, ImageConfig};
use wire::node::*;
use wire::sandbox::{Death, Reason, State as SandboxState};
use wire::snapshot::Root;

use super::HeldClock;

/// Long enough for the bytes before a cut to leave.
const LAST_WORDS_LEAVE: Duration = Duration::from_millis(50);

/// One thing the scripted agent says, or does instead.
#[derive(Debug, Clone)]
pub enum Say {
    Head(Head),
    Out(Bytes),
    Err(Bytes),
    End(Outcome),
    Wait(Duration),
    /// Silence for ever.
    Hang,
    /// The connection breaks.
    Cut,
}

impl Say {
    pub fn started() -> Self {
        Say::Head(Head::Process { pid: 7 })
    }

    pub fn exited(code: i32) -> Self {
        Say::ended(Some(code), None, ExecCause::Itself)
    }

    pub fn ended(exit_code: Option<i32>, signal: Option<i32>, cause: ExecCause) -> Self {
        Say::End(Ok(Done::Exec(ExecEnd { exit_code, signal, cause })))
    }

    pub fn out(text: &'static str) -> Self {
        Say::Out(Bytes::from_static(text.as_bytes()))
    }
}

/// What the node remembers and how it behaves.
pub struct Inner {
    pub id: NodeId,
    pub image: Digest,
    pub sandboxes: Mutex<BTreeMap<SandboxId, Observed>>,
    pub specs: Mutex<BTreeMap<SandboxId, SandboxSpec>>,
    pub files: Mutex<BTreeMap<String, Vec<u8>>>,
    pub puts: Mutex<Vec<PutSandbox>>,
    pub deletes: Mutex<Vec<(SandboxId, DeleteSandbox)>>,
    pub requests: Mutex<Vec<Request>>,
    /// What the agent says to a request; files are written and read without it.
    pub script: Mutex<Vec<Say>>,
    pub refuse_puts: Mutex<Option<NodeError>>,
    pub deadlines: Mutex<Vec<PutDeadline>>,
    pub refuse_deadlines: Mutex<Option<NodeError>>,
    clock: Arc<HeldClock>,
    pub capacity: Mutex<Capacity>,
    pub build: Mutex<Vec<BuildEvent>>,
    pub pulls: Mutex<Vec<PullImage>>,
    /// What a pull says; where nothing is here, it goes well.
    pub pull: Mutex<Vec<PullEvent>>,
    /// All but the first that pulls say waits while this is false.
    pub pull_gate: watch::Sender<bool>,
    /// Images that were pulled.
    pub pulled: Mutex<Vec<Digest>>,
    pub prunes: Mutex<Vec<PruneImages>>,
    /// `PUT`s wait while this is false.
    pub gate: watch::Sender<bool>,
    /// Guest calls that were dropped before their script had ended, and uploads that broke.
    pub cancelled: watch::Sender<u32>,
    changes: broadcast::Sender<Observed>,
}

/// The node, while it listens.
pub struct Node {
    pub inner: Arc<Inner>,
    pub socket: PathBuf,
    server: Option<tokio::task::JoinHandle<()>>,
}

impl Node {
    pub fn new(socket: &Path, clock: Arc<HeldClock>) -> Self {
        let inner = Inner {
            id: NodeId::from_entropy([9; 20]),
            image: Digest::from_sha256([1; 32]),
            sandboxes: Mutex::default(),
            specs: Mutex::default(),
            files: Mutex::default(),
            puts: Mutex::default(),
            deletes: Mutex::default(),
            requests: Mutex::default(),
            script: Mutex::default(),
            refuse_puts: Mutex::default(),
            deadlines: Mutex::default(),
            refuse_deadlines: Mutex::default(),
            clock,
            capacity: Mutex::new(Capacity { sandboxes: 100, vcpu: 100, memory_mib: 100_000 }),
            build: Mutex::default(),
            pulls: Mutex::default(),
            pull: Mutex::default(),
            pull_gate: watch::channel(true).0,
            pulled: Mutex::default(),
            prunes: Mutex::default(),
            gate: watch::channel(true).0,
            cancelled: watch::channel(0).0,
            changes: broadcast::channel(1024).0,
        };
        let mut node = Self { inner: Arc::new(inner), socket: socket.to_owned(), server: None };
        node.start();
        node
    }

    pub fn start(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        let listener = tokio::net::UnixListener::bind(&self.socket).unwrap();
        let router = router(self.inner.clone());
        self.server = Some(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
    }

    /// Nobody answers any more: new connections are refused.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
        let _ = std::fs::remove_file(&self.socket);
    }

    pub fn say(&self, script: impl Into<Vec<Say>>) {
        *self.inner.script.lock().unwrap() = script.into();
    }

    pub fn set_gate(&self, open: bool) {
        self.inner.gate.send_replace(open);
    }

    /// Pulls say this from now on; nothing: they go well.
    pub fn pull(&self, script: impl Into<Vec<PullEvent>>) {
        *self.inner.pull.lock().unwrap() = script.into();
    }

    pub fn set_pull_gate(&self, open: bool) {
        self.inner.pull_gate.send_replace(open);
    }

    /// The sources that pulls were asked for.
    pub fn sources(&self) -> Vec<String> {
        self.inner.pulls.lock().unwrap().iter().map(|pull| pull.source.clone()).collect()
    }

    /// A sandbox ends by itself.
    pub fn kill(&self, id: &SandboxId, reason: Reason, evidence: &str) {
        let death = Death { reason, evidence: evidence.into() };
        self.inner.change(id, SandboxState::Deleted, Some(death));
    }

    pub fn puts(&self) -> usize {
        self.inner.puts.lock().unwrap().len()
    }

    pub fn has(&self, id: &SandboxId) -> bool {
        let alive = |observed: &Observed| observed.state != SandboxState::Deleted;
        self.inner.sandboxes.lock().unwrap().get(id).is_some_and(alive)
    }

    pub async fn until_cancelled(&self, count: u32) {
        let mut cancelled = self.inner.cancelled.subscribe();
        let wait = cancelled.wait_for(|seen| *seen >= count);
        tokio::time::timeout(Duration::from_secs(5), wait).await.expect("nothing was cancelled").unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    pub fn change(&self, id: &SandboxId, state: SandboxState, death: Option<Death>) -> Observed {
        let mut sandboxes = self.sandboxes.lock().unwrap();
        let generation = sandboxes.get(id).map_or(1, |seen| seen.generation);
        let timeout_at_ms = (state == SandboxState::Running).then_some(1_700_000_300_000);
        let observed = Observed {
            id: id.clone(),
            generation,
            state,
            death,
            timeout_at_ms,
            is_wanted: false,
            leaves: None,
            steps: Vec::new(),
        };
        sandboxes.insert(id.clone(), observed.clone());
        let _ = self.changes.send(observed.clone());
        observed
    }
}

fn refusal(error: NodeError) -> Response {
    (StatusCode::from_u16(error.code.status()).unwrap(), Json(error)).into_response()
}

fn router(inner: Arc<Inner>) -> Router {
    Router::new()
        .route("/v1/sandboxes", get(list))
        .route("/v1/sandboxes/{id}", put(put_sandbox).get(get_sandbox).delete(delete_sandbox))
        .route("/v1/sandboxes/{id}/deadline", put(put_deadline))
        .route("/v1/sandboxes/{id}/pause", put(pause))
        .route("/v1/sandboxes/{id}/wake", put(wake))
        .route("/v1/sandboxes/{id}/snapshot", post(snapshot))
        .route("/v1/sandboxes/{id}/guest", post(guest))
        .route("/v1/sandboxes/{id}/inspect", get(inspect))
        .route("/v1/changes", get(changes))
        .route("/v1/node", get(report))
        .route("/v1/leaks", get(leaks))
        .route("/v1/images/system", post(build))
        .route("/v1/images/pull", post(pull))
        .route("/v1/images/prune", post(prune))
        .with_state(inner)
}

type Id = extract::Path<SandboxId>;
type Door = State<Arc<Inner>>;

async fn list(State(node): Door) -> Json<Vec<Observed>> {
    Json(node.sandboxes.lock().unwrap().values().cloned().collect())
}

async fn put_sandbox(State(node): Door, extract::Path(id): Id, Json(put): Json<PutSandbox>) -> Response {
    node.puts.lock().unwrap().push(put.clone());
    if let Some(error) = node.refuse_puts.lock().unwrap().clone() {
        return refusal(error);
    }
    node.specs.lock().unwrap().entry(id.clone()).or_insert(put.spec);
    let known = node.sandboxes.lock().unwrap().get(&id).cloned();
    if known.is_none() {
        node.change(&id, SandboxState::Starting, None);
    }
    // On a task of its own, as on a real node: what has begun goes on when the caller is gone.
    let settle = tokio::spawn(async move {
        node.gate.subscribe().wait_for(|open| *open).await.unwrap();
        let now = node.sandboxes.lock().unwrap().get(&id).cloned();
        match now {
            Some(now) if now.state == SandboxState::Starting => node.change(&id, SandboxState::Running, None),
            Some(now) => now,
            None => Observed {
                id,
                generation: put.generation,
                state: SandboxState::Deleted,
                death: None,
                timeout_at_ms: None,
                is_wanted: false,
                leaves: None,
                steps: Vec::new(),
            },
        }
    });
    Json(settle.await.unwrap()).into_response()
}

async fn put_deadline(State(node): Door, extract::Path(id): Id, Json(put): Json<PutDeadline>) -> Response {
    node.deadlines.lock().unwrap().push(put.clone());
    if let Some(error) = node.refuse_deadlines.lock().unwrap().clone() {
        return refusal(error);
    }
    let mut sandboxes = node.sandboxes.lock().unwrap();
    let Some(seen) = sandboxes.get_mut(&id) else {
        return refusal(NodeError::new(NodeErrorCode::NotFound, "no such sandbox"));
    };
    if put.generation < seen.generation {
        return refusal(NodeError::new(NodeErrorCode::Stale, "it has seen a newer one"));
    }
    if seen.state != SandboxState::Running {
        return refusal(NodeError::new(NodeErrorCode::WrongState, "it does not run"));
    }
    if put.generation > seen.generation {
        seen.generation = put.generation;
        seen.timeout_at_ms = Some(node.clock.wall_ms() + put.ends_in_ms);
        let _ = node.changes.send(seen.clone());
    }
    Json(seen.clone()).into_response()
}

async fn pause(State(node): Door, extract::Path(id): Id, Json(pause): Json<PauseSandbox>) -> Response {
    heard(&node, &id, pause.generation, SandboxState::Paused)
}

async fn wake(State(node): Door, extract::Path(id): Id, Json(wake): Json<WakeSandbox>) -> Response {
    heard(&node, &id, wake.generation, SandboxState::Running)
}

async fn snapshot(State(node): Door, extract::Path(id): Id, Json(order): Json<TakeSnapshot>) -> Response {
    let taken = TakenSnapshot { root: Root::new([9; 32]), bytes: 10 };
    let ended = order.ends.then_some(SandboxState::Deleted);
    match node.sandboxes.lock().unwrap().get_mut(&id) {
        Some(seen) => {
            seen.state = ended.unwrap_or(seen.state);
            Json(taken).into_response()
        }
        None => refusal(NodeError::new(NodeErrorCode::NotFound, "no such sandbox")),
    }
}

/// A sandbox enters the state that was asked for.
fn heard(node: &Inner, id: &SandboxId, generation: u64, state: SandboxState) -> Response {
    let mut sandboxes = node.sandboxes.lock().unwrap();
    let Some(seen) = sandboxes.get_mut(id) else {
        return refusal(NodeError::new(NodeErrorCode::NotFound, "no such sandbox"));
    };
    if generation < seen.generation {
        return refusal(NodeError::new(NodeErrorCode::Stale, "it has seen a newer one"));
    }
    (seen.generation, seen.state) = (generation, state);
    let _ = node.changes.send(seen.clone());
    Json(seen.clone()).into_response()
}

async fn get_sandbox(State(node): Door, extract::Path(id): Id) -> Response {
    match node.sandboxes.lock().unwrap().get(&id) {
        Some(observed) => Json(observed.clone()).into_response(),
        None => refusal(NodeError::new(NodeErrorCode::NotFound, "no such sandbox")),
    }
}

async fn delete_sandbox(
    State(node): Door,
    extract::Path(id): Id,
    Json(delete): Json<DeleteSandbox>,
) -> Json<Observed> {
    node.deletes.lock().unwrap().push((id.clone(), delete.clone()));
    let known = node.sandboxes.lock().unwrap().get(&id).cloned();
    let death = match known.and_then(|seen| seen.death) {
        Some(death) => death,
        None => Death { reason: delete.reason, evidence: String::new() },
    };
    let observed = node.change(&id, SandboxState::Deleted, Some(death));
    node.sandboxes.lock().unwrap().remove(&id);
    Json(observed)
}

async fn inspect(extract::Path(id): Id) -> Json<Inspection> {
    let view = |name: &str| serde_json::json!({ "view": name, "id": id });
    Json(Inspection { node: view("node"), engine: view("engine"), guest: view("guest") })
}

async fn changes(State(node): Door) -> Body {
    let changes = node.changes.subscribe();
    let all: Vec<_> = node.sandboxes.lock().unwrap().values().cloned().collect();
    let later =
        stream::unfold(changes, |mut changes| async move { Some((changes.recv().await.ok()?, changes)) });
    Body::from_stream(stream::iter(all).chain(later).map(|observed| line(&observed)))
}

fn line(value: &impl serde::Serialize) -> Result<Bytes, std::io::Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line.into())
}

async fn report(State(node): Door) -> Json<NodeReport> {
    Json(NodeReport {
        id: node.id.clone(),
        engine: "test".into(),
        engine_version: "0".into(),
        capacity: *node.capacity.lock().unwrap(),
        used: Capacity::default(),
        leaks: [("mount".to_owned(), 1)].into(),
        images: [vec![node.image.clone()], node.pulled.lock().unwrap().clone()].concat(),
    })
}

async fn leaks() -> Json<Vec<Leak>> {
    Json(vec![Leak { kind: "mount".into(), name: "/planted".into(), owner: None }])
}

async fn build(State(node): Door, Json(order): Json<BuildSystemImage>) -> Response {
    if order.name == "system/unknown" {
        return refusal(NodeError::new(NodeErrorCode::NotFound, "no recipe"));
    }
    let mut events = node.build.lock().unwrap().clone();
    if events.is_empty() {
        events = vec![
            BuildEvent::Progress(BuildProgress { message: "working".into() }),
            BuildEvent::Done(built(&node.image)),
        ];
    }
    Body::from_stream(stream::iter(events).map(|event| line(&event))).into_response()
}

async fn pull(State(node): Door, Json(order): Json<PullImage>) -> Body {
    let script = node.pull.lock().unwrap().clone();
    let says = if script.is_empty() { pull_of(&order) } else { script };
    node.pulls.lock().unwrap().push(order);
    let says = says.into_iter().enumerate();
    Body::from_stream(stream::unfold((says, node), |(mut says, node)| async move {
        let (index, event) = says.next()?;
        if index > 0 {
            node.pull_gate.subscribe().wait_for(|open| *open).await.unwrap();
        }
        if let PullEvent::Done(built) = &event {
            node.pulled.lock().unwrap().push(built.digest.clone());
        }
        Some((line(&event), (says, node)))
    }))
}

/// A pull that goes well: what comes is named after its source.
fn pull_of(order: &PullImage) -> Vec<PullEvent> {
    let resolved = resolved(&order.source);
    let built = BuiltImage {
        digest: image_of(&resolved.digest),
        size_bytes: 1,
        config: resolved.config.clone(),
        built_now: true,
    };
    let progress = PullProgress { phase: PullPhase::Fetching, bytes_done: 3, bytes_total: 7 };
    let all = vec![PullEvent::Resolved(resolved), PullEvent::Progress(progress), PullEvent::Done(built)];
    if order.resolve_only { all[..1].to_vec() } else { all }
}

/// What a source turns out to be.
pub fn resolved(source: &str) -> ResolvedImage {
    let pinned = source.split_once('@').map(|(_, digest)| digest.parse().unwrap());
    let digest = pinned.unwrap_or_else(|| hashed(source));
    ResolvedImage { digest, config: config(), layers: 1, layer_bytes: 7 }
}

/// The root file system of a manifest.
pub fn image_of(manifest: &Digest) -> Digest {
    hashed(manifest.as_str())
}

fn hashed(text: &str) -> Digest {
    use sha2::Digest as _;
    Digest::from_sha256(sha2::Sha256::digest(text).into())
}

async fn prune(State(node): Door, Json(order): Json<PruneImages>) -> Json<Pruned> {
    let mut pulled = node.pulled.lock().unwrap();
    let gone: Vec<_> = pulled.iter().filter(|image| !order.keep.contains(image)).cloned().collect();
    if !order.dry_run {
        pulled.retain(|image| order.keep.contains(image));
    }
    node.prunes.lock().unwrap().push(order);
    let item = |image: &Digest| PrunedItem {
        kind: PrunedKind::Image,
        name: image.to_string(),
        bytes: 10,
        reason: "nobody needs it".into(),
    };
    Json(Pruned { bytes: 10 * gone.len() as u64, items: gone.iter().map(item).collect() })
}

fn built(image: &Digest) -> BuiltImage {
    BuiltImage { digest: image.clone(), size_bytes: 1, config: config(), built_now: true }
}

fn config() -> ImageConfig {
    let env =
        BTreeMap::from([("PATH".to_owned(), "/bin".to_owned()), ("FROM".to_owned(), "image".to_owned())]);
    ImageConfig {
        env: Some(env),
        working_dir: "/workspace".into(),
        user: "user".into(),
        ..ImageConfig::default()
    }
}

/// Counts calls that do not come to their end.
struct Call {
    node: Arc<Inner>,
    ended: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.node.cancelled.send_modify(|count| *count += 1);
        }
    }
}

async fn guest(State(node): Door, extract::Path(id): Id, body: Body) -> Response {
    let known = node.sandboxes.lock().unwrap().get(&id).cloned();
    if known.is_none_or(|seen| seen.state != SandboxState::Running) {
        return refusal(NodeError::new(NodeErrorCode::WrongState, "it does not run"));
    }
    let call = Call { node: node.clone(), ended: false };
    let mut frames = Frames { body, buffer: BytesMut::new() };
    let Some(frame::Body::Open(json)) = frames.next().await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let request: Request = serde_json::from_slice(&json).unwrap();
    node.requests.lock().unwrap().push(request.clone());
    let script = node.script.lock().unwrap().clone();
    let says = match request {
        Request::WriteFile(file) if script.is_empty() => {
            let Some(content) = frames.content().await else {
                return StatusCode::BAD_REQUEST.into_response();
            };
            let bytes = content.len() as u64;
            node.files.lock().unwrap().insert(file.path, content);
            vec![Say::End(Ok(Done::Write { bytes }))]
        }
        Request::ReadFile(file) if script.is_empty() => read(&node, &file.path),
        _ => script,
    };
    let answer = stream::unfold((says.into_iter(), call), |(mut says, mut call)| async move {
        let say = says.next();
        call.ended = matches!(say, Some(Say::End(_) | Say::Cut) | None);
        let piece = match say? {
            Say::Wait(wait) => {
                tokio::time::sleep(wait).await;
                Ok(Bytes::new())
            }
            Say::Hang => std::future::pending().await,
            Say::Cut => {
                // What was said before leaves first: an error drops what is still in the buffer.
                tokio::time::sleep(LAST_WORDS_LEAVE).await;
                Err(std::io::Error::other("cut"))
            }
            Say::Head(head) => Ok(encode(frame::Body::Head(json_bytes(&head)))),
            Say::Out(bytes) => Ok(encode(frame::Body::Data(Channel::Stdout, bytes))),
            Say::Err(bytes) => Ok(encode(frame::Body::Data(Channel::Stderr, bytes))),
            Say::End(outcome) => Ok(encode(frame::Body::End(json_bytes(&outcome)))),
        };
        Some((piece, (says, call)))
    });
    Body::from_stream(answer).into_response()
}

fn read(node: &Inner, path: &str) -> Vec<Say> {
    match node.files.lock().unwrap().get(path) {
        None => {
            let error =
                wire::guest::Error::new(wire::guest::ErrorCode::NotFound, format!("{path}: no such file"));
            vec![Say::End(Err(error))]
        }
        Some(content) => {
            let mut says = vec![Say::Head(Head::File { size_bytes: content.len() as u64 })];
            says.extend(
                content.chunks(frame::DATA_BYTES_MAX).map(|piece| Say::Out(Bytes::copy_from_slice(piece))),
            );
            says.push(Say::End(Ok(Done::Read { bytes: content.len() as u64 })));
            says
        }
    }
}

fn json_bytes(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap().into()
}

fn encode(body: frame::Body) -> Bytes {
    let mut out = BytesMut::new();
    Frame::new(GUEST_STREAM, body).encode(&mut out);
    out.freeze()
}

struct Frames {
    body: Body,
    buffer: BytesMut,
}

impl Frames {
    async fn next(&mut self) -> Option<frame::Body> {
        use http_body_util::BodyExt;
        loop {
            if let Some(frame) = Frame::decode(&mut self.buffer).unwrap() {
                assert_eq!(frame.stream, GUEST_STREAM);
                return Some(frame.body);
            }
            self.buffer.extend_from_slice(&self.body.frame().await?.ok()?.into_data().ok()?);
        }
    }

    /// Data until its `Eof`; `None` if that never comes.
    async fn content(&mut self) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            match self.next().await? {
                frame::Body::Data(Channel::Stdin, bytes) => content.extend_from_slice(&bytes),
                frame::Body::Eof(Channel::Stdin) => return Some(content),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}
