//! Serves a connection, whatever it speaks: it has so long to say what it wants.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio_rustls::TlsAcceptor;

use super::Ingress;
use super::body::{AnswerBody, full};
use super::door::{Caller, Place, empty, tunnel};
use super::fast;
use super::headers::Asker;
use super::host::Host;
use super::lengths::Seen;
use super::refusal::{Refusal, wants_page};
use crate::dial::Wire;
use crate::patient::Patient;

/// How long a connection may be silent before the other side is asked whether it is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// The first byte of TLS: a handshake record (RFC 8446, 5.1). No method of HTTP begins so.
const TLS_HANDSHAKE: u8 = 22;
/// Whom HTTP/2 has chosen in TLS.
const ALPN_HTTP2: &[u8] = b"h2";
/// How long a connection of HTTP/2 may be silent before the other side is asked whether it is there.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);

/// What a client of HTTP/2 may have sent on one stream that its app has not taken, and on all of a connection, in bytes. How
/// many pieces of a few bytes may lie there grows with the second.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;

/// Something that goes on by itself.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Ingress {
    /// Serves one connection, whatever it speaks.
    pub(super) async fn connection(
        self,
        stream: TcpStream,
        address: SocketAddr,
        permit: OwnedSemaphorePermit,
        stopping: watch::Receiver<bool>,
    ) {
        tune(&stream);
        let address = address.ip().to_canonical();
        let Some(visitor) = self.door.visitor(address) else { return };
        let place = Arc::new(Place::new(permit, visitor, self.door.tally.connection()));
        let mut caller = Caller { asker: Asker { address, scheme: "https" }, place, stopping };
        if !self.plain {
            return self.secure(Box::new(stream), caller).await;
        }
        let first = tokio::time::timeout(self.door.limits.handshake_wait, first_byte(&stream)).await;
        match first {
            Ok(Ok(Some(TLS_HANDSHAKE))) => self.secure(Box::new(stream), caller).await,
            Ok(Ok(Some(_))) => {
                caller.asker.scheme = "http";
                self.http1(Box::new(stream), caller, true).await;
            }
            // It left, or said nothing.
            Ok(Ok(None) | Err(_)) | Err(_) => {}
        }
    }

    /// Serves a connection that begins with TLS. Boxed, since a tunnel in one leads to another.
    fn secure(self, stream: Box<dyn Wire>, caller: Caller) -> Task {
        Box::pin(async move {
            let acceptor = TlsAcceptor::from(self.tls.clone());
            let limits = &self.door.limits;
            let stream = Patient::new(stream, limits.untaken_wait);
            match tokio::time::timeout(limits.handshake_wait, acceptor.accept(stream)).await {
                Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2) => {
                    self.http2(Box::new(stream), caller).await;
                }
                Ok(Ok(stream)) => self.http1(Box::new(stream), caller, false).await,
                Ok(Err(error)) => tracing::debug!(%error, "no TLS came about"),
                Err(_) => tracing::debug!("a client took too long over TLS"),
            }
        })
    }

    async fn http1(self, stream: Box<dyn Wire>, caller: Caller, may_tunnel: bool) {
        let limits = &self.door.limits;
        let mut stream = Patient::new(stream, limits.untaken_wait);
        let Some(read) = fast::serve(&self.door, &mut stream, &caller).await else {
            // TLS has a word for it; who has left does not hear it.
            return drop(stream.shutdown().await);
        };
        let (stream, lengths) = Seen::new(stream, read);
        let stream = TokioIo::new(stream);
        let stopping = caller.stopping.clone();
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_wait)
            .max_headers(limits.headers_max)
            .max_buf_size(limits.head_bytes_max);
        let service = service_fn(|request| {
            let has_two_lengths = lengths.next_has_two();
            let (ingress, caller) = (&self, &caller);
            async move {
                match has_two_lengths {
                    true => Ok(refuse_two_lengths(&request)),
                    false => ingress.answer(request, caller, may_tunnel).await,
                }
            }
        });
        let mut connection = pin!(builder.serve_connection(stream, service).with_upgrades());
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = stopped(stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        note_end(served);
    }

    async fn http2(self, stream: Box<dyn Wire>, caller: Caller) {
        let limits = &self.door.limits;
        let stream = TokioIo::new(Patient::new(stream, limits.untaken_wait));
        let stopping = caller.stopping.clone();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .enable_connect_protocol();
        let asked = Notify::new();
        let service = service_fn(|request| {
            asked.notify_one();
            let (ingress, caller) = (self.clone(), caller.clone());
            async move { ingress.answer(request, &caller, false).await }
        });
        let mut connection = pin!(builder.serve_connection(stream, service));
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = silent(&asked, limits.head_wait) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = stopped(stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        note_end(served);
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        caller: &Caller,
        may_tunnel: bool,
    ) -> Result<Response<AnswerBody>, Infallible> {
        match tunnel(&request).filter(|_| may_tunnel) {
            Some(host) => Ok(self.dig(&host, request, caller.clone())),
            None => Ok(self.door.answer(request, caller).await),
        }
    }

    /// For clients that can be told of a proxy, but not of a name: what they take for the sandbox's own TLS is ours.
    fn dig(&self, host: &str, mut request: Request<Incoming>, caller: Caller) -> Response<AnswerBody> {
        if !matches!(self.door.domain.host(host), Host::Sandbox(_) | Host::Presigned(_)) {
            let message = format!("this leads to sandboxes of {} alone", self.door.domain);
            let refusal = Refusal::new(StatusCode::FORBIDDEN, "no_such_tunnel", message);
            return refusal.answer(wants_page(request.headers())).map(full);
        }
        let (ingress, client) = (self.clone(), hyper::upgrade::on(&mut request));
        tokio::spawn(async move {
            let Ok(stream) = client.await else { return };
            let mut caller = caller;
            caller.asker.scheme = "https";
            ingress.secure(Box::new(TokioIo::new(stream)), caller).await;
        });
        empty(StatusCode::OK)
    }
}

fn refuse_two_lengths(request: &Request<Incoming>) -> Response<AnswerBody> {
    let message = "the request has `content-length` and `transfer-encoding`: it says twice how long it is";
    Refusal::malformed(message).answer(wants_page(request.headers())).map(full)
}

/// Answers are small and many: none should wait for the next. A peer that vanished is found out.
fn tune(stream: &TcpStream) {
    let tuned = stream.set_nodelay(true).and_then(|()| {
        sockopt::set_socket_keepalive(stream, true)?;
        Ok(sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?)
    });
    if let Err(error) = tuned {
        tracing::debug!(%error, "a connection stays as the kernel made it");
    }
}

async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut first = [0; 1];
    let read = stream.peek(&mut first).await?;
    Ok((read == 1).then_some(first[0]))
}

/// Returns when nothing was asked for so long. What is under way goes on: it is only that the next request comes on
/// another connection.
async fn silent(asked: &Notify, wait: Duration) {
    while tokio::time::timeout(wait, asked.notified()).await.is_ok() {}
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // Its sender is the server's own; gone, it has stopped.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn note_end(served: hyper::Result<()>) {
    if let Err(error) = served {
        tracing::debug!(error = wire::causes::chain(&error), "a connection ended badly");
    }
}
