//! A web server for tests: a function of requests, on an address of its own, gone when dropped.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// A body that may break off.
pub type Body = BoxBody<Bytes, io::Error>;

/// A request, read to its end.
#[derive(Debug, Clone)]
pub struct Asked {
    /// How.
    pub method: Method,
    /// What.
    pub uri: Uri,
    /// With what.
    pub headers: HeaderMap,
    /// And what more.
    pub body: Bytes,
}

impl Asked {
    /// A header as text, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The fields of the query, or of a form.
    pub fn fields(text: &[u8]) -> Vec<(String, String)> {
        url::form_urlencoded::parse(text).into_owned().collect()
    }
}

/// A server. Gone when dropped, with its connections.
#[derive(Debug)]
pub struct Web {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Web {
    /// A server whose answers this function gives.
    ///
    /// # Panics
    /// When there is no address for it.
    pub async fn start<F, A>(tls: Option<Arc<ServerConfig>>, answer: F) -> Self
    where
        F: Fn(Asked) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let address = listener.local_addr().expect("it has one");
        let tls = tls.map(TlsAcceptor::from);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, answer) = (tls.clone(), answer.clone());
                // Answers of several pieces do not wait for each other.
                drop(tcp.set_nodelay(true));
                connections.spawn(async move {
                    match tls {
                        None => converse(tcp, answer).await,
                        // A client that does not believe us is one that a test asks for.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                converse(stream, answer).await;
                            }
                        }
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, task }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse<S, F, A>(stream: S, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Asked) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let asked = Asked { method: parts.method, uri: parts.uri, headers: parts.headers, body };
            Ok::<_, hyper::Error>(answer(asked).await)
        }
    });
    // A connection that breaks off is what some tests ask for.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// An answer of these bytes.
pub fn answer(status: u16, bytes: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(bytes.into()).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status of a test is one");
    response
}

/// An answer in JSON.
pub fn json(status: u16, value: &Value) -> Response<Body> {
    with_header(answer(status, value.to_string()), "content-type", "application/json")
}

/// The same with one header more.
pub fn with_header(mut response: Response<Body>, name: &'static str, value: &str) -> Response<Body> {
    response.headers_mut().append(name, value.parse().expect("a header of a test is one"));
    response
}
