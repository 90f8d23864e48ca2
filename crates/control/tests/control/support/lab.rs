//! One control, one scripted node, two teams, and a client.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use control::{Config, Control, Limits, MetricsPage, NodeAddress, keys::Scope};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use wire::clock::Clock;
use wire::id::SandboxId;

use super::Node;

/// The template every lab has.
pub const TEMPLATE: &str = "system/debian:bookworm";

/// A clock the test sets.
pub struct HeldClock(AtomicU64);

impl Clock for HeldClock {
    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn boot_ms(&self) -> u64 {
        self.wall_ms()
    }
}

/// What stops a control that serves, and its task.
type Server = (oneshot::Sender<()>, tokio::task::JoinHandle<()>);

pub struct Lab {
    pub node: Node,
    pub clock: Arc<HeldClock>,
    /// Operator and team at once.
    pub key: String,
    /// Of another team.
    pub other_key: String,
    pub address: String,
    pub dir: tempfile::TempDir,
    pub limits: Limits,
    /// The operator's key file, as text.
    pub secrets_keys: Option<String>,
    client: Client<HttpConnector, Full<Bytes>>,
    server: Option<Server>,
    more_servers: Vec<Server>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is not JSON")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn message(&self) -> String {
        self.error()["message"].as_str().expect("an error without a message").to_owned()
    }

    #[track_caller]
    pub fn code(&self) -> String {
        self.error()["code"].as_str().expect("an error without a code").to_owned()
    }

    /// An error, out of the envelope that dialects put it in: there our own word for it is among the details.
    #[track_caller]
    fn error(&self) -> Value {
        let mut body = self.json();
        if body["error"].is_object() {
            body = body["error"].take();
            body["code"] = body["details"]["code"].take();
        }
        body
    }

    #[track_caller]
    pub fn wrong_fields(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().expect("no field was named").clone();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    pub fn id(&self) -> SandboxId {
        self.json()["id"].as_str().expect("no id").parse().unwrap()
    }
}

impl Lab {
    /// Quick enough for tests, slow enough for a busy machine.
    pub fn limits() -> Limits {
        Limits {
            upload_bytes_max: 8 * 1024 * 1024,
            output_bytes_max: 64,
            create_wait: Duration::from_secs(10),
            ready_wait: Duration::from_secs(10),
            delete_wait: Duration::from_secs(5),
            keep_alive: Duration::from_millis(200),
            sweep_interval: Duration::from_millis(200),
            drain: Duration::from_secs(2),
            ..Limits::default()
        }
    }

    pub async fn start() -> Self {
        Self::with(Self::limits()).await
    }

    pub async fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(HeldClock(AtomicU64::new(1_700_000_000_000)));
        let node = Node::new(&dir.path().join("node.sock"), clock.clone());
        let mut lab = Self {
            node,
            clock,
            key: control::keys::generate().unwrap(),
            other_key: String::new(),
            address: String::new(),
            dir,
            limits,
            secrets_keys: None,
            client: Client::builder(TokioExecutor::new()).build_http(),
            server: None,
            more_servers: Vec::new(),
        };
        lab.boot(true).await;
        lab.post("/v1/template/system", json!({ "name": TEMPLATE })).await.expect(200);
        lab
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub async fn open(&self) -> Control {
        let config = Config {
            data_dir: self.data_dir(),
            nodes: vec![NodeAddress { socket: self.node.socket.clone() }],
            clock: self.clock.clone(),
            first_key: Some(self.key.clone()),
            secrets_keys: self.secrets_keys.clone(),
            limits: self.limits.clone(),
            metrics: MetricsPage::new(|| "# rendered\n".into()),
            ingress_authority: "sandbox.test:7443".into(),
            changes: None,
        };
        Control::open(config).await.unwrap()
    }

    async fn boot(&mut self, first: bool) {
        let control = self.open().await;
        if first {
            self.other_key = control.add_team("other", &[Scope::Team]).await.unwrap();
        }
        let (address, server) = serve(control).await;
        self.address = address;
        self.server = Some(server);
    }

    /// One more control on the same store, for as long as the test runs: its address.
    pub async fn serve_again(&mut self) -> String {
        let (address, server) = serve(self.open().await).await;
        self.more_servers.push(server);
        address
    }

    /// Stops control in an orderly way, and waits for it.
    pub async fn stop(&mut self) {
        if let Some((stop, server)) = self.server.take() {
            drop(stop);
            server.await.unwrap();
        }
    }

    /// Control dies where it stands and comes back on the same data.
    pub async fn crash_and_restart(&mut self) {
        if let Some((_, server)) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
        self.boot(false).await;
    }

    pub fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }

    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(60), self.client.request(request));
        let (parts, body) = answer.await.expect("no answer").unwrap().into_parts();
        let body = body.collect().await.expect("the answer was cut off").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn with_key(&self, key: &str, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        self.call(method, path, &[("authorization", key)], body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.with_key(&self.key, "GET", path, "").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.with_key(&self.key, "DELETE", path, "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.with_key(&self.key, "POST", path, body.to_string()).await
    }

    /// A new key, made with the first: its id and itself.
    pub async fn new_key(&self, body: Value) -> (String, String) {
        let made = self.post("/v1/key", body).await.expect(201).json();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("id"), text("key"))
    }

    /// A sandbox that runs.
    pub async fn sandbox(&self) -> SandboxId {
        self.post("/v1/sandbox", json!({})).await.expect(201).id()
    }

    /// A template whose image is here: its id.
    pub async fn template(&self, name: &str) -> String {
        let made =
            self.post("/v1/template", json!({"name": name, "uri": "r.test/it:v1"})).await.expect(201).json();
        let id = made["id"].as_str().unwrap().to_owned();
        crate::eventually!(self.get(&format!("/v1/template/{id}")).await.json()["state"] == "ready");
        id
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.with_key(&self.key, "PATCH", path, body.to_string()).await
    }

    pub async fn state(&self, id: &SandboxId) -> String {
        self.get(&format!("/v1/sandbox/{id}/")).await.expect(200).json()["state"].as_str().unwrap().to_owned()
    }

    /// A connection on which a request has been sent, for those who want to see bytes or hang up.
    pub async fn raw(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> TcpStream {
        use tokio::io::AsyncWriteExt;
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{headers}\r\n",
            self.key
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream
    }
}

async fn serve(control: Control) -> (String, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let serve = async move {
        control
            .serve(listener, async {
                let _ = stopped.await;
            })
            .await
    };
    (address, (stop, tokio::spawn(serve)))
}

/// Tries until it is so.
#[macro_export]
macro_rules! eventually {
    ($what:expr) => {{
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !$what {
            assert!(std::time::Instant::now() < deadline, "not within 10 s: {}", stringify!($what));
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }};
}
