//! An ingress, and whom it meets.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::dial::{Dial, Dialling, Lease, Line};
use proxy::ingress::limits::Limits;
use proxy::ingress::refusal::Refusal;
use proxy::ingress::routes::{Asking, Routes};
use proxy::ingress::tls::Certificates;
use proxy::ingress::trusted::Trusted;
use proxy::ingress::{Config, Ingress};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use wire::clock::Clock;
use wire::id::{KeyId, NodeId, SandboxId};
use wire::ingress::counts::Counts;
use wire::ingress::{Allowed, Destination, DialRefusal, DialRefusalCode, Passage, Route, RouteQuery};
use wire::token::{SUFFIX_CHARS, Token};

/// The key that opens everything.
pub const KEY: &str = "the-key";
/// What a test waits for has so long to happen.
pub const BOUND: Duration = Duration::from_secs(30);

/// The sandbox of a test.
pub fn sandbox() -> SandboxId {
    SandboxId::from_entropy([7; 20])
}

/// The host of a port of it.
pub fn host(port: u16) -> String {
    format!("{}-{port}.sandbox.localhost", sandbox())
}

/// Knows one key, every sandbox but those that were deleted, URLs of the test's sandbox, and ports of it that are open.
#[derive(Default)]
pub struct Book {
    deleted: Mutex<HashSet<SandboxId>>,
    urls: Mutex<HashMap<String, u16>>,
    open: Mutex<HashSet<u16>>,
}

impl Book {
    /// From now on it is gone.
    pub fn delete(&self, id: SandboxId) {
        self.deleted.lock().unwrap().insert(id);
    }

    /// A URL's token for this port.
    pub fn sign(&self, port: u16) -> String {
        let mut entropy = [7; SUFFIX_CHARS];
        entropy[0] = self.urls.lock().unwrap().len() as u8;
        let token = String::from(Token::from_entropy(entropy));
        self.urls.lock().unwrap().insert(token.clone(), port);
        token
    }

    /// From now on nobody needs a key for this port.
    pub fn open(&self, port: u16) {
        self.open.lock().unwrap().insert(port);
    }

    /// From now on a key is needed again.
    pub fn close(&self, port: u16) {
        self.open.lock().unwrap().remove(&port);
    }

    fn passage(&self, query: &RouteQuery) -> Result<Passage, Refusal> {
        let no_key = || Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "no key");
        let (to, port, key) = match &query.to {
            Destination::Presigned(token) => {
                assert!(query.key.is_none(), "what is the app's is told to nobody else");
                let known = self.urls.lock().unwrap().get(token.as_str()).copied();
                let nowhere = || Refusal::new(StatusCode::NOT_FOUND, "not_found", "no such URL");
                (sandbox(), known.ok_or_else(nowhere)?, None)
            }
            Destination::Sandbox { sandbox, port } => {
                let (port, is_known) = (port.unwrap_or(1), query.key.as_deref() == Some(KEY));
                let may = is_known || self.open.lock().unwrap().contains(&port);
                let key = is_known.then(|| KeyId::from_entropy([1; 20]));
                (sandbox.clone(), may.then_some(port).ok_or_else(no_key)?, key)
            }
        };
        if self.deleted.lock().unwrap().contains(&to) {
            return Err(Refusal::new(StatusCode::GONE, "sandbox_deleted", "gone"));
        }
        Ok(Passage {
            route: Route { sandbox: to, port, node: NodeId::from_entropy([1; 20]) },
            key,
            until_ms: None,
        })
    }
}

impl Routes for Book {
    fn route(&self, query: RouteQuery) -> Asking<'_, Passage> {
        Box::pin(async move { self.passage(&query) })
    }

    fn allowed(&self, query: RouteQuery) -> Asking<'_, Allowed> {
        Box::pin(async move { self.passage(&query).map(|passage| Allowed { until_ms: passage.until_ms }) })
    }

    fn tell(&self, _: Counts) -> Asking<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// A clock that stands still: nothing is over by itself.
struct Stopped;

impl Clock for Stopped {
    fn wall_ms(&self) -> u64 {
        0
    }

    fn boot_ms(&self) -> u64 {
        0
    }
}

/// Every port is this host's; the leases end together.
pub struct Loopback {
    over: watch::Sender<bool>,
    /// Connections that were made.
    pub made: Mutex<u32>,
}

impl Loopback {
    /// The sandbox goes away.
    pub fn end_leases(&self) {
        self.over.send_replace(true);
    }
}

impl Dial for Loopback {
    fn dial<'a>(&'a self, route: &'a Route, _: Duration) -> Dialling<'a> {
        Box::pin(async move {
            let not_listening = |error: std::io::Error| DialRefusal {
                code: DialRefusalCode::NotListening,
                message: error.to_string(),
            };
            let stream = TcpStream::connect(("127.0.0.1", route.port)).await.map_err(not_listening)?;
            *self.made.lock().unwrap() += 1;
            let mut over = self.over.subscribe();
            let lease: Lease = Box::pin(async move { drop(over.wait_for(|over| *over).await) });
            Ok(Line { wire: Box::new(stream), lease })
        })
    }
}

/// An ingress that serves, until it is dropped.
pub struct Stand {
    pub port: u16,
    pub book: Arc<Book>,
    pub loopback: Arc<Loopback>,
    pub dir: TempDir,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Stand {
    pub async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        Self::behind(Trusted::default(), limits).await
    }

    /// Behind load balancers that may say for whom they ask.
    pub async fn behind(trusted: Trusted, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        make_certificate(dir.path());
        let certificates = Certificates::open(dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let book = Arc::new(Book::default());
        let loopback = Arc::new(Loopback { over: watch::Sender::new(false), made: Mutex::default() });
        let ingress = Ingress::new(Config {
            domain: "sandbox.localhost".parse().unwrap(),
            routes: book.clone(),
            changes: None,
            clock: Arc::new(Stopped),
            dial: loopback.clone(),
            certificates: certificates.unwrap(),
            plain: true,
            trusted,
            limits,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, mut stopped) = watch::channel(false);
        let stopped = async move { drop(stopped.wait_for(|stop| *stop).await) };
        let serving = tokio::spawn(async move { ingress.serve(listener, stopped).await.unwrap() });
        Self { port, book, loopback, dir, stop, serving }
    }

    /// Stops it, and waits until it has.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(BOUND, self.serving).await.expect("it stops").unwrap();
    }

    /// A connection to it.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// A client of it that speaks HTTP/1.1.
    pub async fn client(&self) -> SendRequest<Full<Bytes>> {
        let io = TokioIo::new(self.connect().await);
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        sender
    }

    /// What comes back when these bytes are sent, to the end of the connection.
    pub async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        // It may have heard enough before it heard all.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(BOUND, stream.read_to_end(&mut answer)).await;
        // Closed with something unread, a connection is reset.
        drop(read.expect("the connection ends"));
        answer
    }
}

/// A request with the key.
pub fn get(port: u16, path: &str) -> Request<Full<Bytes>> {
    let request = Request::builder().uri(path).header("host", host(port)).header("leap0-authorization", KEY);
    request.body(Full::default()).unwrap()
}

/// What an app saw.
#[derive(Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub type AppBody = UnsyncBoxBody<Bytes, Infallible>;

/// An app that answers each request with what `answer` makes of it; its port, and what it saw.
pub async fn app(
    answer: impl Fn(&Seen) -> Response<AppBody> + Clone + Send + 'static,
) -> (u16, mpsc::UnboundedReceiver<Seen>) {
    let (told, seen) = mpsc::unbounded_channel();
    let port = serve(move |request: Request<Incoming>| {
        let (told, answer) = (told.clone(), answer.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let seen = Seen { method: head.method.to_string(), path, headers: head.headers, body };
            let answer = answer(&seen);
            let _ = told.send(seen);
            answer
        }
    })
    .await;
    (port, seen)
}

/// An app that says `ok` to everything.
pub async fn plain_app() -> (u16, mpsc::UnboundedReceiver<Seen>) {
    app(|_| Response::new(Full::from("ok").boxed_unsync())).await
}

/// An HTTP server that speaks either version of HTTP, on a port of its own.
pub async fn serve<F>(answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> u16
where
    F: Future<Output = Response<AppBody>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut first = [0; 4];
                let _ = stream.peek(&mut first).await;
                let service = service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let io = TokioIo::new(stream);
                if first == *b"PRI " {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    drop(server.serve_connection(io, service).await);
                } else {
                    let server = hyper::server::conn::http1::Builder::new();
                    drop(server.serve_connection(io, service).with_upgrades().await);
                }
            });
        }
    });
    port
}

/// An app that reads a request's head and answers with these bytes, whatever they are, then hangs up.
pub async fn raw_app(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let _ = stream.write_all(answer).await;
        }
    });
    port
}

/// A certificate for the names of tests, and the authority that signed it, made by the `openssl` program.
pub fn make_certificate(dir: &Path) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let ca = ["req", "-x509", "-subj", "/CN=A test", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(dir, &[&ca[..], &key[..]].concat());
    let server = ["req", "-x509", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"];
    let names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:*.sandbox.localhost"];
    let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"];
    openssl(dir, &[&server[..], &key[..], &names[..], &signed[..]].concat());
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).stdin(Stdio::null()).output();
    let output = output.expect("openssl is installed: it comes with ca-certificates");
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
}
