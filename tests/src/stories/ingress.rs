//! What runs inside, reached from outside.

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use proxy::ingress::limits::Limits;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::http::{Answer, Client};
use testkit::ingress::{DOMAIN, Door};
use testkit::lab::{Builder, Lab, eventually};
use testkit::machines::Kind;

use super::{read, run, sandbox, write};
use crate::id_of;

/// The app, in Python.
const APP: &str = include_str!("app.py");
/// A port that is free on a host where nothing else is tested.
pub(super) const ANY_PORT: &str = "0";
/// One on which nobody listens.
const CLOSED_PORT: u16 = 2;

/// A door that waits for ports as long as a story may take, and a client of it.
pub(super) async fn door(lab: &Lab) -> (Door, Client) {
    let door = lab.ingress(Limits { port_wait: Duration::from_secs(60), ..Limits::default() }).await;
    let client = door.client(lab.key());
    (door, client)
}

/// Starts the app; its port.
pub(super) async fn app(lab: &Lab, id: &str, port: &str) -> u16 {
    app_at(lab, id, "0.0.0.0", port).await
}

/// Starts the app where it listens at this address; its port.
async fn app_at(lab: &Lab, id: &str, address: &str, port: &str) -> u16 {
    let place = format!("app-{}", address.replace(['.', ':'], "-"));
    write(lab, id, &format!("{place}/app.py"), APP).await.expect(204);
    let order = json!({ "argv": ["python3", "app.py", port, address], "id": place, "cwd": place });
    lab.api.post(&format!("/v1/sandbox/{id}/process/start"), order).await.expect(201);
    let written = json!({ "path": format!("{place}/port") });
    let named = async || read(lab, id, written.clone()).await.status == 200;
    eventually("the app listens", named).await;
    let port = read(lab, id, written).await.expect(200).body;
    String::from_utf8(port.to_vec()).unwrap().parse().unwrap()
}

fn host(id: &str, port: u16) -> String {
    format!("{id}-{port}.{DOMAIN}")
}

pub(super) async fn get(client: &Client, host: &str, path: &str) -> Answer {
    client.send(Method::GET, path, &[("host", host)], Bytes::new()).await
}

pub(super) fn code(answer: Answer) -> (u16, Value) {
    let status = answer.status.as_u16();
    (status, answer.json()["code"].clone())
}

pub async fn an_app_is_reached_by_name_and_by_path_byte_for_byte(lab: Builder) {
    let lab = lab.start().await;
    let (_door, client) = door(&lab).await;
    let id = sandbox(&lab).await;
    let port = app(&lab, &id, ANY_PORT).await;
    let body = Bytes::from_iter((0..=255).cycle().take(5000));
    let by_name = (host(&id, port), "/a//%2e/b?c=%20+&d".to_owned());
    let by_path = ("127.0.0.1".to_owned(), format!("/v1/sandbox/{id}/invoke/{port}/a//%2e/b?c=%20+&d"));
    for (host, path) in [by_name, by_path] {
        let headers = [("host", host.as_str()), ("x-own", "a, b"), ("x-forwarded-for", "10.0.0.1")];
        let seen = client.send(Method::PATCH, &path, &headers, body.clone()).await.expect(200).json();
        assert_eq!((&seen["method"], &seen["path"]), (&json!("PATCH"), &json!("/a//%2e/b?c=%20+&d")));
        let sent: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(seen["body"], sent);
        let headers = seen["headers"].as_object().unwrap();
        let header = |name: &str| headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        assert_eq!(header("x-own").unwrap().1, "a, b");
        assert_eq!(header("x-forwarded-for").unwrap().1, "127.0.0.1");
        assert_eq!(header("authorization"), None, "the app sees our key");
    }
    lab.end().await;
}

pub async fn who_may_not_or_asks_for_nothing_gets_nowhere(lab: Builder) {
    let lab = lab.start().await;
    let door = lab.ingress(Limits { port_wait: Duration::ZERO, ..Limits::default() }).await;
    let client = door.client(lab.key());
    let id = sandbox(&lab).await;
    let port = app(&lab, &id, ANY_PORT).await;
    assert_eq!(code(get(&door.client(""), &host(&id, port), "/").await), (401, json!("unauthorized")));
    let order = json!({ "name": "others" });
    let team = id_of(&lab.api.post("/v1/team", order).await.expect(201).json());
    let order = json!({ "name": "theirs", "team": team, "scopes": ["team"] });
    let key = lab.api.post("/v1/key", order).await.expect(201).json();
    let others = door.client(key["key"].as_str().unwrap());
    let unknown = code(get(&client, &host("sbx-hhhhhhhhhhhhhhhhhhhh", port), "/").await);
    assert_eq!(unknown, (404, json!("not_found")));
    assert_eq!(code(get(&others, &host(&id, port), "/").await), unknown, "another team's looks like none");
    for agent in [host(&id, 1), format!("{}:7443", host(&id, 1)), host(&id, 1).to_uppercase()] {
        assert_eq!(code(get(&client, &agent, "/").await), (404, json!("not_found")), "{agent}");
    }
    let by_path = format!("/v1/sandbox/{id}/invoke/1/");
    assert_eq!(code(get(&client, "127.0.0.1", &by_path).await), (404, json!("not_found")));
    // A port of the host's own is not the sandbox's, even where the two share them.
    let hosts_own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = host(&id, hosts_own.local_addr().unwrap().port());
    assert_eq!(code(get(&client, &closed, "/").await), (502, json!("nothing_listens")));
    let headers = [("host", closed.as_str()), ("accept", "text/html,*/*")];
    let page = client.send(Method::GET, "/", &headers, Bytes::new()).await.expect(502);
    assert!(page.body.starts_with(b"<!doctype html>"), "{:?}", page.body);
    // No port is named, and the template has no PORT.
    let unnamed = get(&client, &format!("{id}.{DOMAIN}"), "/").await.expect(400);
    assert!(unnamed.json()["message"].as_str().unwrap().contains("PORT"), "{:?}", unnamed.body);
    lab.end().await;
}

pub async fn the_environment_names_the_port_where_the_name_does_not(lab: Builder) {
    let lab = lab.start().await;
    let (_door, client) = door(&lab).await;
    let first = sandbox(&lab).await;
    // Any port that is free there is likely to be free again.
    let port = app(&lab, &first, ANY_PORT).await.to_string();
    lab.api.delete(&format!("/v1/sandbox/{first}")).await.expect(204);
    let order = json!({ "env_vars": { "PORT": port } });
    let id = id_of(&lab.api.post("/v1/sandbox", order).await.expect(201).json());
    app(&lab, &id, &port).await;
    let seen = get(&client, &format!("{id}.{DOMAIN}"), "/here").await.expect(200).json();
    assert_eq!(seen["path"], "/here");
    lab.end().await;
}

pub async fn events_arrive_as_they_are_sent_and_end_with_the_sandbox(lab: Builder) {
    let lab = lab.start().await;
    let (_door, client) = door(&lab).await;
    let id = sandbox(&lab).await;
    let host = host(&id, app(&lab, &id, ANY_PORT).await);
    let mut events = client.open(Method::GET, "/events", &[("host", &host)], Bytes::new()).await.into_body();
    let first = events.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "data: one\n\n");
    get(&client, &host, "/go-on").await.expect(200);
    let second = events.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(second, "data: two\n\n");
    lab.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    assert_eq!(code(get(&client, &host, "/").await), (410, json!("sandbox_deleted")));
    assert!(!matches!(events.frame().await, Some(Ok(_))), "the stream goes on without its sandbox");
    lab.end().await;
}

pub async fn a_websocket_reaches_the_app(lab: Builder) {
    let lab = lab.start().await;
    let (door, client) = door(&lab).await;
    let id = sandbox(&lab).await;
    let port = app(&lab, &id, ANY_PORT).await;
    let path = format!("/v1/sandbox/{id}/invoke/{port}/websocket");
    let mut socket = client.socket(&path).await.unwrap();
    socket.type_in("to and fro").await;
    socket.until("to and fro").await;
    assert_eq!(door.client("").socket(&path).await.err().unwrap().as_u16(), 401);
    let in_vain = (client.clone(), host(&id, CLOSED_PORT));
    let in_vain = tokio::spawn(async move { get(&in_vain.0, &in_vain.1, "/").await });
    let mut another = client.socket(&path).await.unwrap();
    another.type_in("beside who waits for a port").await;
    another.until("who waits for a port").await;
    lab.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    socket.broken_off().await;
    another.broken_off().await;
    assert_ne!(in_vain.await.unwrap().status, 200);
    lab.end().await;
}

pub async fn large_bodies_go_in_and_out(lab: Builder) {
    const PIECES: usize = 256;
    let lab = lab.start().await;
    let (_door, client) = door(&lab).await;
    let id = sandbox(&lab).await;
    let port = app(&lab, &id, ANY_PORT).await;
    let front = format!("/v1/sandbox/{id}/invoke/{port}");
    let piece = Bytes::from(vec![0; 64 * 1024]);
    let pieces = std::iter::repeat_n(piece, PIECES);
    let sum =
        client.upload(&format!("{front}/sum"), "application/octet-stream", pieces).await.expect(200).body;
    let bytes = PIECES * 64 * 1024;
    let zeros = client.get(&format!("{front}/zeros/{bytes}")).await.expect(200).body;
    assert!(zeros.len() == bytes && zeros.iter().all(|byte| *byte == 0));
    let again =
        client.upload(&format!("{front}/sum"), "application/octet-stream", [zeros]).await.expect(200).body;
    assert_eq!(again, sum, "what was sent in pieces is the same as what was sent whole");
    lab.end().await;
}

pub async fn an_app_that_listens_inside_alone_is_reached_too(lab: Builder) {
    const BYTES: usize = 4_000_000;
    let lab = lab.start().await;
    let (door, client) = door(&lab).await;
    let id = sandbox(&lab).await;
    let mut hosts = Vec::new();
    for address in ["127.0.0.1", "::1"] {
        if address == "::1" && lab.kind != Kind::Fake {
            // gVisor's loopback interface has no such address.
            continue;
        }
        let port = app_at(&lab, &id, address, ANY_PORT).await;
        let host = host(&id, port);
        assert_eq!(get(&client, &host, "/inside").await.expect(200).json()["path"], "/inside", "{address}");
        let front = format!("/v1/sandbox/{id}/invoke/{port}");
        let zeros = client.get(&format!("{front}/zeros/{BYTES}")).await.expect(200).body;
        assert_eq!(zeros.len(), BYTES);
        client.upload(&format!("{front}/sum"), "application/octet-stream", [zeros]).await.expect(200);
        let mut socket = client.socket(&format!("{front}/websocket")).await.unwrap();
        socket.type_in("to and fro").await;
        socket.until("to and fro").await;
        assert_eq!(code(get(&door.client(""), &host, "/").await), (401, json!("unauthorized")));
        hosts.push(host);
    }
    // What wakes has another token than what was paused.
    super::pause::pause(&lab, &id).await;
    assert_eq!(run(&lab, &id, "echo awake").await["stdout"], "awake\n");
    assert_eq!(get(&client, &hosts[0], "/again").await.expect(200).json()["path"], "/again");
    // By this way, too, nobody speaks with the agent, whose port is as open to the inside as to the outside.
    assert_eq!(code(get(&client, &host(&id, 1), "/").await), (404, json!("not_found")));
    let mut events =
        client.open(Method::GET, "/events", &[("host", &hosts[0])], Bytes::new()).await.into_body();
    assert_eq!(events.frame().await.unwrap().unwrap().into_data().unwrap(), "data: one\n\n");
    lab.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    assert!(!matches!(events.frame().await, Some(Ok(_))), "the stream goes on without its sandbox");
    lab.end().await;
}

pub async fn an_app_that_starts_late_and_parts_that_restart_are_waited_for(lab: Builder) {
    let mut lab = lab.start().await;
    let (_door, client) = door(&lab).await;
    let first = sandbox(&lab).await;
    let port = app(&lab, &first, ANY_PORT).await;
    lab.api.delete(&format!("/v1/sandbox/{first}")).await.expect(204);
    let id = sandbox(&lab).await;
    let early = (client.clone(), host(&id, port));
    let early = tokio::spawn(async move { get(&early.0, &early.1, "/early").await });
    app(&lab, &id, &port.to_string()).await;
    assert_eq!(early.await.unwrap().expect(200).json()["path"], "/early");
    lab.stop_control().await;
    lab.stop_node().await;
    lab.start_node().await.unwrap();
    lab.start_control().await.unwrap();
    assert_eq!(get(&client, &host(&id, port), "/after").await.expect(200).json()["path"], "/after");
    lab.end().await;
}

pub async fn one_whose_app_never_answers_takes_no_room_of_others(lab: Builder) {
    const UNDER_WAY: usize = 6;
    let lab = lab.start().await;
    let door = lab.ingress(Limits { sandbox_requests_max: UNDER_WAY, ..Limits::default() }).await;
    let client = door.client(lab.key());
    let (flooded, other) = (sandbox(&lab).await, sandbox(&lab).await);
    let flooded = host(&flooded, app(&lab, &flooded, ANY_PORT).await);
    let other = host(&other, app(&lab, &other, ANY_PORT).await);
    let hang = || {
        let (client, host) = (client.clone(), flooded.clone());
        tokio::spawn(async move {
            // One that meets a look at whether it is full comes again.
            let is_let_in = async || get(&client, &host, "/hang").await.status != 503;
            eventually("it is let in", is_let_in).await;
        })
    };
    let hanging: Vec<_> = (0..UNDER_WAY).map(|_| hang()).collect();
    let is_full = async || get(&client, &flooded, "/").await.status == 503;
    eventually("all of them are under way", is_full).await;
    let refused = get(&client, &flooded, "/").await;
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(code(refused), (503, json!("sandbox_requests_max")));
    for _ in 0..UNDER_WAY {
        get(&client, &other, "/").await.expect(200);
    }
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    let is_free = async || get(&client, &flooded, "/").await.status == 200;
    eventually("those who left take no room", is_free).await;
    lab.end().await;
}
