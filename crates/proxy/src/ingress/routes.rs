//! Where a request may go: asked of control.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use wire::ingress::counts::Counts;
use wire::ingress::{ANSWER_BYTES_MAX, Allowed, Passage, RouteQuery};
use wire::public::error::ErrorBody;

use super::refusal::Refusal;

/// How long control may take to answer: a sandbox that is coming up is waited for there.
const ANSWER_WAIT: Duration = Duration::from_secs(90);
/// How long control may be away, when it is started again.
const AWAY_WAIT: Duration = Duration::from_secs(5);
/// Between two attempts while it is.
const RETRY_WAIT: Duration = Duration::from_millis(50);
/// Connections kept while nobody asks.
const IDLE_CONNECTIONS_MAX: usize = 32;

/// A question under way.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// Says where requests may go. What it no longer allows is over from the next question on.
pub trait Routes: Send + Sync + 'static {
    /// Where this one may go; it may take its time, while it wakes a sandbox.
    fn route(&self, query: RouteQuery) -> Asking<'_, Passage>;

    /// Whether this one, which is under way, may go on, and until when; nothing is woken for that.
    fn allowed(&self, query: RouteQuery) -> Asking<'_, Allowed>;

    /// What was counted so far.
    fn tell(&self, counts: Counts) -> Asking<'_, ()>;
}

/// Control, on a Unix socket of this host.
pub struct Control {
    socket: PathBuf,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Control {
    /// Connects when it is first asked.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, idle: Mutex::default() }
    }

    async fn ask<T: DeserializeOwned>(&self, path: &'static str, body: Bytes) -> Result<T, Refusal> {
        let mut answer = Err(io::Error::from(io::ErrorKind::NotConnected));
        // One that was kept may have been closed meanwhile, which is no answer.
        while let Some(kept) = self.kept() {
            answer = self.ask_on(kept, path, body.clone()).await;
            if answer.is_ok() {
                break;
            }
        }
        if answer.is_err() {
            let fresh = self.connect().await.map_err(|error| unavailable(&error))?;
            answer = self.ask_on(fresh, path, body).await;
        }
        let (answer, body) = answer.map_err(|error| unavailable(&error))?;
        read(&answer, &body)
    }

    async fn ask_on(
        &self,
        mut connection: SendRequest<Full<Bytes>>,
        path: &'static str,
        body: Bytes,
    ) -> io::Result<(Response<()>, Bytes)> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, "control")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        let answer = connection.send_request(request).await.map_err(io::Error::other)?;
        let whole = whole(answer).await?;
        self.keep(connection);
        Ok(whole)
    }

    async fn connect(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let stream = tokio::time::timeout(AWAY_WAIT, self.reach()).await;
        let away = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not listen");
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream.map_err(away)?)).await.map_err(io::Error::other)?;
        // Its end is seen by whoever asks next.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    async fn reach(&self) -> UnixStream {
        loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(RETRY_WAIT).await,
            }
        }
    }

    async fn answered<T: DeserializeOwned>(
        &self,
        path: &'static str,
        question: impl Serialize,
    ) -> Result<T, Refusal> {
        let body = Bytes::from(serde_json::to_vec(&question).map_err(|error| unavailable(&error))?);
        let asked = tokio::time::timeout(ANSWER_WAIT, self.ask(path, body)).await;
        asked.unwrap_or_else(|_| Err(unavailable(&"it took too long")))
    }

    fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|connection| connection.is_ready())
    }

    fn keep(&self, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(connection);
        }
    }
}

impl Routes for Control {
    fn route(&self, query: RouteQuery) -> Asking<'_, Passage> {
        Box::pin(self.answered("/v1/route", query))
    }

    fn allowed(&self, query: RouteQuery) -> Asking<'_, Allowed> {
        Box::pin(self.answered("/v1/passage", query))
    }

    fn tell(&self, counts: Counts) -> Asking<'_, ()> {
        Box::pin(self.answered("/v1/counts", counts))
    }
}

async fn whole(answer: Response<Incoming>) -> io::Result<(Response<()>, Bytes)> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(io::Error::other)?;
    Ok((Response::from_parts(head, ()), body.to_bytes()))
}

/// An answer, or what the API would have said.
fn read<T: DeserializeOwned>(answer: &Response<()>, body: &[u8]) -> Result<T, Refusal> {
    if answer.status() == StatusCode::OK {
        return serde_json::from_slice(body).map_err(|error| unavailable(&error));
    }
    let said: ErrorBody = serde_json::from_slice(body).map_err(|error| unavailable(&error))?;
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Err(Refusal {
        status: status(answer.status(), &said.code),
        code: said.code.into(),
        message: said.message,
        retry_after_seconds: retry_after,
    })
}

/// The API shows the record of what is gone; whoever wants to get into it finds nothing more.
fn status(said: StatusCode, code: &str) -> StatusCode {
    match code {
        "sandbox_deleting" | "sandbox_deleted" => StatusCode::GONE,
        _ => said,
    }
}

fn unavailable(why: &dyn std::fmt::Display) -> Refusal {
    tracing::warn!(%why, "control cannot say where a request may go");
    let message = "the server cannot say now where this goes; try again later";
    Refusal::passing(StatusCode::SERVICE_UNAVAILABLE, "control_unavailable", message)
}
