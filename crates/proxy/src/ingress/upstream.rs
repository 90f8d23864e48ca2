//! Connections to apps, kept for a moment, each for one port of one sandbox.
//!
//! A connection is lent by the sandbox's node and ends with the sandbox, so none of an earlier life of it is found here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::Instant;
use wire::ingress::{DialRefusal, DialRefusalCode, Route};

use super::body::{Sent, Shed};
use super::counted::Counted;
use super::limits::Limits;
use super::refusal::Refusal;
use super::tally::Tally;
use crate::dial::Dial;
use crate::leased::Leased;

/// The kind of what gRPC sends begins so; it goes to the app as HTTP/2 without TLS, and all else as HTTP/1.1.
const GRPC: &[u8] = b"application/grpc";

/// See the module.
#[derive(Clone)]
pub struct Upstreams {
    dial: Arc<dyn Dial>,
    limits: Limits,
    tally: Arc<Tally>,
    idle: Arc<Mutex<Idle>>,
}

/// A connection to an app.
pub type Line = Counted<Leased>;

/// Connections that nobody needs now.
type Idle = HashMap<Route, Port>;

/// Those to one port, the one that was needed last at the end.
#[derive(Default)]
struct Port {
    http1: Vec<Kept>,
    http2: Vec<Kept>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

enum Sender {
    Http1(http1::SendRequest<Sent>),
    Http2(http2::SendRequest<Sent>),
}

struct Kept {
    sender: Sender,
    since: Instant,
}

/// A connection on which an answer is still coming; it is kept when that has come to its end.
pub struct Lent {
    upstreams: Upstreams,
    route: Route,
    /// None: it is kept already, since many requests share it.
    sender: Option<Sender>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut sender) = self.sender.take() else { return };
        if sender.is_ready() {
            return self.upstreams.put(&self.route, sender);
        }
        if sender.is_closed() {
            return;
        }
        let (upstreams, route) = (self.upstreams.clone(), self.route.clone());
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                upstreams.put(&route, sender);
            }
        });
    }
}

impl Upstreams {
    /// None yet; they are made by `dial`.
    pub fn new(dial: Arc<dyn Dial>, limits: Limits, tally: Arc<Tally>) -> Self {
        Self { dial, limits, tally, idle: Arc::default() }
    }

    /// Others of the same kind, of which there are none yet.
    pub fn beside(&self, tally: Arc<Tally>) -> Self {
        Self::new(self.dial.clone(), self.limits.clone(), tally)
    }

    /// Sends a request to where `route` leads; the answer's head, and the connection on which the rest comes.
    ///
    /// # Errors
    /// When nobody listens there, or what listens does not answer in HTTP.
    pub async fn send(
        &self,
        route: &Route,
        mut request: Request<Sent>,
    ) -> Result<(Response<Incoming>, Lent), Refusal> {
        let protocol = if is_grpc(request.headers()) { Protocol::Http2 } else { Protocol::Http1 };
        loop {
            let (mut sender, is_fresh) = match self.take(route, protocol) {
                Some(kept) => (kept, false),
                None => (self.connect(route, protocol).await?, true),
            };
            let sent = tokio::time::timeout(self.limits.answer_wait, sender.send(request)).await;
            match sent.map_err(|_| self.no_answer(route))? {
                Ok(answer) => return Ok((answer, self.lend(route, sender))),
                // One that was kept may have been closed before anything was sent on it.
                Err(mut failed) => match failed.take_message().filter(|_| !is_fresh) {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(route, &failed.into_error())),
                },
            }
        }
    }

    /// A new connection, for as long as it is lent.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(&self, route: &Route) -> Result<Line, Refusal> {
        self.tally.dialled();
        let dialled = self.dial.dial(route, self.limits.port_wait).await;
        let line = dialled.map_err(|refusal| {
            self.tally.dial_failed(refusal.code);
            no_connection(route, refusal, self.limits.port_wait)
        })?;
        Ok(Counted::new(Leased::from(line), self.tally.clone()))
    }

    async fn connect(&self, route: &Route, protocol: Protocol) -> Result<Sender, Refusal> {
        let io = TokioIo::new(self.open(route).await?);
        match protocol {
            Protocol::Http1 => {
                let (sender, connection) =
                    http1::handshake(io).await.map_err(|error| broken(route, &error))?;
                tokio::spawn(async move { drop(connection.with_upgrades().await) });
                Ok(Sender::Http1(sender))
            }
            Protocol::Http2 => {
                let shaken = http2::handshake(TokioExecutor::new(), io).await;
                let (sender, connection) = shaken.map_err(|error| broken(route, &error))?;
                tokio::spawn(async move { drop(connection.await) });
                Ok(Sender::Http2(sender))
            }
        }
    }

    fn take(&self, route: &Route, protocol: Protocol) -> Option<Sender> {
        let mut idle = self.lock();
        let kept = idle.get_mut(route)?.of(protocol);
        let last = std::iter::from_fn(|| kept.pop()).find(|kept| self.is_good(kept))?;
        if let Sender::Http2(sender) = &last.sender {
            // Many requests share one of these.
            let shared = Sender::Http2(sender.clone());
            kept.push(last);
            return Some(shared);
        }
        Some(last.sender)
    }

    /// What becomes of a connection whose answer has begun.
    fn lend(&self, route: &Route, sender: Sender) -> Lent {
        let sender = match sender {
            Sender::Http1(_) => Some(sender),
            Sender::Http2(_) => {
                self.put(route, sender);
                None
            }
        };
        Lent { upstreams: self.clone(), route: route.clone(), sender }
    }

    /// Keeps a connection for a moment.
    fn put(&self, route: &Route, sender: Sender) {
        let mut idle = self.lock();
        if !idle.contains_key(route) {
            idle.insert(route.clone(), Port::default());
        }
        let Some(port) = idle.get_mut(route) else { return };
        let kept = port.of(sender.protocol());
        if matches!(sender, Sender::Http2(_)) {
            kept.clear();
        }
        // As many as can be needed at once.
        if kept.len() < self.limits.sandbox_requests_max {
            kept.push(Kept { sender, since: Instant::now() });
        }
    }

    /// Lets those go that nobody needed for a moment, for ever.
    pub async fn keep(&self) {
        loop {
            tokio::time::sleep(self.limits.upstream_idle).await;
            self.lock().retain(|_, port| {
                port.http1.retain(|kept| self.is_good(kept));
                port.http2.retain(|kept| self.is_good(kept));
                !port.http1.is_empty() || !port.http2.is_empty()
            });
        }
    }

    fn is_good(&self, kept: &Kept) -> bool {
        kept.since.elapsed() < self.limits.upstream_idle && !kept.sender.is_closed()
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The app took too long to begin its answer.
    pub fn no_answer(&self, route: &Route) -> Refusal {
        let seconds = self.limits.answer_wait.as_secs();
        let message = format!(
            "what listens on port {} of the sandbox did not answer within {seconds} s (`answer_wait`)",
            route.port
        );
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, "app_silent", message)
    }
}

impl Port {
    fn of(&mut self, protocol: Protocol) -> &mut Vec<Kept> {
        match protocol {
            Protocol::Http1 => &mut self.http1,
            Protocol::Http2 => &mut self.http2,
        }
    }
}

impl Sender {
    fn protocol(&self) -> Protocol {
        match self {
            Self::Http1(_) => Protocol::Http1,
            Self::Http2(_) => Protocol::Http2,
        }
    }

    fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(sender) => sender.is_ready(),
        }
    }

    async fn send(
        &mut self,
        request: Request<Sent>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Sent>>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }
}

/// Whether a request is gRPC's.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|value| value.as_bytes().to_ascii_lowercase());
    kind.is_some_and(|kind| kind.starts_with(GRPC))
}

fn no_connection(route: &Route, refusal: DialRefusal, waited: Duration) -> Refusal {
    let Route { sandbox, port, .. } = route;
    match refusal.code {
        // It ran when control was asked a moment ago; whoever asks again is told what became of it, or wakes it.
        DialRefusalCode::Gone => {
            let message = format!("sandbox {sandbox} does not run any more; ask again to learn why");
            Refusal::passing(StatusCode::SERVICE_UNAVAILABLE, "sandbox_not_ready", message)
        }
        DialRefusalCode::NotListening => {
            let seconds = waited.as_secs();
            let message = format!(
                "nothing listens on port {port} of sandbox {sandbox}, and nothing did for {seconds} s; start the app, \
                 or ask for the port on which it says that it listens"
            );
            Refusal::passing(StatusCode::BAD_GATEWAY, "nothing_listens", message)
        }
        DialRefusalCode::Forbidden => {
            Refusal::new(StatusCode::NOT_FOUND, "no_such_port", format!("port {port} is not for users"))
        }
        DialRefusalCode::Unreachable => {
            tracing::warn!(%sandbox, port, why = refusal.message, "no connection into a sandbox");
            let message = format!("sandbox {sandbox} cannot be reached now; try again later");
            Refusal::passing(StatusCode::SERVICE_UNAVAILABLE, "sandbox_unreachable", message)
        }
    }
}

fn broken(route: &Route, error: &hyper::Error) -> Refusal {
    // It may have been the client's doing.
    if let Some(shed) = shed(error) {
        return shed.clone();
    }
    broke_off(route, &wire::causes::chain(error))
}

/// An app closed the connection on which it was asked.
pub fn broke_off(route: &Route, why: &str) -> Refusal {
    let Route { sandbox, port, .. } = route;
    tracing::debug!(%sandbox, port, why, "an app's answer broke off");
    let message =
        format!("what listens on port {port} of the sandbox ended the connection without an answer: {why}");
    Refusal::new(StatusCode::BAD_GATEWAY, "app_broke_off", message)
}

/// Why the request's body was given up, if that is what ended it.
fn shed(error: &hyper::Error) -> Option<&Refusal> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(Shed(refusal)) = error.downcast_ref() {
            return Some(refusal);
        }
        cause = error.source();
    }
    None
}
