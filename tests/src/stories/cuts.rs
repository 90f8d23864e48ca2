//! What is under way at the door ends when what let it in does; and no request that follows arrives.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use proxy::ingress::limits::Limits;
use serde_json::{Value, json};
use testkit::http::Client;
use testkit::ingress::AUTHORITY;
use testkit::lab::{Builder, Lab, eventually};
use testkit::socket::Socket;

use super::ingress::{ANY_PORT, app, code, door, get};
use super::sandbox;

/// What a story waits for has so long to happen; the door itself looks every second.
const PATIENCE: Duration = Duration::from_secs(60);
/// A download that no buffers on the way hold.
const BYTES: usize = 64 << 20;

/// A WebSocket, a stream of events, and a download of which only the beginning is read.
struct UnderWay {
    socket: Socket,
    events: Incoming,
    download: Incoming,
}

impl UnderWay {
    async fn begin(client: &Client, front: &str) -> Self {
        let mut socket = client.socket(&format!("{front}/websocket")).await.unwrap();
        socket.type_in("to and fro").await;
        socket.until("to and fro").await;
        let open = async |path: &str| {
            let answer = client.open(Method::GET, &format!("{front}{path}"), &[], Bytes::new()).await;
            assert_eq!(answer.status(), 200);
            let mut body = answer.into_body();
            body.frame().await.unwrap().unwrap();
            body
        };
        Self { socket, events: open("/events").await, download: open(&format!("/zeros/{BYTES}")).await }
    }

    async fn ends(mut self) {
        self.socket.broken_off().await;
        let more = tokio::time::timeout(PATIENCE, self.events.frame()).await.expect("the events end");
        assert!(!matches!(more, Some(Ok(_))), "the events go on");
        let rest = tokio::time::timeout(PATIENCE, self.download.collect()).await.expect("the download ends");
        assert!(rest.is_err(), "all of the download came");
    }

    async fn goes_on(&mut self) {
        self.socket.type_in("on and on").await;
        self.socket.until("on and on").await;
    }
}

/// One whose app answers; its id and the port.
async fn served(lab: &Lab) -> (String, u16) {
    let id = sandbox(lab).await;
    let port = app(lab, &id, ANY_PORT).await;
    (id, port)
}

/// The end of a story; what is still under way ends with its sandbox.
async fn close(lab: Lab, id: &str) {
    lab.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    lab.end().await;
}

async fn token(lab: &Lab, id: &str, order: Value) -> (String, String) {
    let made = lab.api.post(&format!("/v1/sandbox/{id}/presigned-url"), order).await.expect(201).json();
    let url = format!("/v1/sandbox/{id}/presigned-url/{}", made["id"].as_str().unwrap());
    (format!("/v1/presigned/{}", made["token"].as_str().unwrap()), url)
}

pub async fn what_came_by_a_presigned_url_is_cut_when_that_is_taken_back_and_all_else_goes_on(lab: Builder) {
    let lab = lab.start().await;
    let (door, owner) = door(&lab).await;
    let (id, port) = served(&lab).await;
    let (taken, url) = token(&lab, &id, json!({ "port": port })).await;
    let (kept, _) = token(&lab, &id, json!({ "port": port })).await;
    let under_way = UnderWay::begin(&door.client(""), &taken).await;
    let mut others = [
        UnderWay::begin(&door.client(""), &kept).await,
        UnderWay::begin(&owner, &format!("/v1/sandbox/{id}/invoke/{port}")).await,
    ];
    lab.api.delete(&url).await.expect(204);
    under_way.ends().await;
    for other in &mut others {
        other.goes_on().await;
    }
    close(lab, &id).await;
}

pub async fn what_came_by_a_presigned_url_is_cut_when_that_expires(lab: Builder) {
    let lab = lab.start().await;
    let (door, _) = door(&lab).await;
    let (id, port) = served(&lab).await;
    let (short, _) = token(&lab, &id, json!({ "port": port, "expires_in": 60 })).await;
    let (long, _) = token(&lab, &id, json!({ "port": port, "expires_in": 3600 })).await;
    let under_way = UnderWay::begin(&door.client(""), &short).await;
    let mut other = UnderWay::begin(&door.client(""), &long).await;
    lab.clock.advance(Duration::from_secs(61));
    under_way.ends().await;
    other.goes_on().await;
    close(lab, &id).await;
}

pub async fn what_came_to_a_port_is_cut_when_that_is_open_no_longer(lab: Builder) {
    let lab = lab.start().await;
    let (door, owner) = door(&lab).await;
    let (id, port) = served(&lab).await;
    let (front, ports) =
        (format!("/v1/sandbox/{id}/invoke/{port}"), format!("/v1/sandbox/{id}/public-ports"));
    lab.api.put(&ports, json!({ "ports": [port] })).await.expect(200);
    let under_way = UnderWay::begin(&door.client(""), &front).await;
    let mut other = UnderWay::begin(&owner, &front).await;
    lab.api.put(&ports, json!({ "ports": [] })).await.expect(200);
    under_way.ends().await;
    other.goes_on().await;
    close(lab, &id).await;
}

pub async fn what_came_with_a_key_is_cut_when_that_is_revoked(lab: Builder) {
    let lab = lab.start().await;
    let (door, owner) = door(&lab).await;
    let (id, port) = served(&lab).await;
    let front = format!("/v1/sandbox/{id}/invoke/{port}");
    let order = json!({ "name": "theirs", "scopes": ["team"] });
    let key = lab.api.post("/v1/key", order).await.expect(201).json();
    let under_way = UnderWay::begin(&door.client(key["key"].as_str().unwrap()), &front).await;
    let mut other = UnderWay::begin(&owner, &front).await;
    lab.api.delete(&format!("/v1/key/{}", key["id"].as_str().unwrap())).await.expect(204);
    under_way.ends().await;
    other.goes_on().await;
    close(lab, &id).await;
}

pub async fn what_was_allowed_a_moment_ago_is_not_when_it_has_been_taken_back(lab: Builder) {
    const TIMES: usize = 10;
    let lab = lab.start().await;
    let (door, owner) = door(&lab).await;
    let (id, port) = served(&lab).await;
    let (host, ports) = (format!("{id}-{port}.{AUTHORITY}"), format!("/v1/sandbox/{id}/public-ports"));
    let anybody = door.client("");
    for _ in 0..TIMES {
        let order = json!({ "name": "short", "scopes": ["team"] });
        let key = lab.api.post("/v1/key", order).await.expect(201).json();
        let (holder, key) =
            (door.client(key["key"].as_str().unwrap()), format!("/v1/key/{}", key["id"].as_str().unwrap()));
        let (url, made) = token(&lab, &id, json!({ "port": port })).await;
        lab.api.put(&ports, json!({ "ports": [port] })).await.expect(200);
        for _ in 0..3 {
            get(&holder, &host, "/").await.expect(200);
            get(&anybody, &host, "/").await.expect(200);
            get(&anybody, "127.0.0.1", &format!("{url}/")).await.expect(200);
        }
        lab.api.put(&ports, json!({ "ports": [] })).await.expect(200);
        assert_eq!(code(get(&anybody, &host, "/").await), (401, json!("unauthorized")));
        lab.api.delete(&made).await.expect(204);
        assert_eq!(code(get(&anybody, "127.0.0.1", &format!("{url}/")).await), (404, json!("not_found")));
        get(&holder, &host, "/").await.expect(200);
        lab.api.delete(&key).await.expect(204);
        assert_eq!(code(get(&holder, &host, "/").await), (401, json!("unauthorized")));
    }
    get(&owner, &host, "/").await.expect(200);
    lab.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    assert_eq!(code(get(&owner, &host, "/").await), (410, json!("sandbox_deleted")));
    lab.end().await;
}

pub async fn what_happens_at_the_door_is_counted_among_the_metrics(lab: Builder) {
    let lab = lab.start().await;
    let door = lab.ingress(Limits { port_wait: Duration::ZERO, ..Limits::default() }).await;
    let client = door.client(lab.key());
    let (id, port) = served(&lab).await;
    let mut socket = client.socket(&format!("/v1/sandbox/{id}/invoke/{port}/websocket")).await.unwrap();
    get(&client, &format!("{id}-{port}.{AUTHORITY}"), "/").await.expect(200);
    get(&door.client(""), &format!("{id}-{port}.{AUTHORITY}"), "/").await.expect(401);
    get(&client, &format!("{id}-9.{AUTHORITY}"), "/").await.expect(502);
    let counted = [
        "atoll_ingress_requests_total{outcome=\"1xx\"} 1\n",
        "atoll_ingress_requests_total{outcome=\"2xx\"} 1\n",
        "atoll_ingress_requests_total{outcome=\"refused\"} 2\n",
        "atoll_ingress_refusals_total{code=\"unauthorized\"} 1\n",
        "atoll_ingress_dial_failures_total{code=\"not_listening\"} 1\n",
        "atoll_ingress_upgraded_streams 1\n",
    ];
    let told = async || {
        let page = lab.api.get("/metrics").await.expect(200).body;
        let page = String::from_utf8(page.to_vec()).unwrap();
        assert!(!page.contains(&id), "what grows with sandboxes is not counted: {page}");
        counted.iter().all(|line| page.contains(line))
    };
    eventually("all of it is told", told).await;
    socket.type_in("to and fro").await;
    socket.until("to and fro").await;
    close(lab, &id).await;
}
