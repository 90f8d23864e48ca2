//! Ports that are reached without a key.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use proxy::ingress::limits::Limits;
use serde_json::{Value, json};
use testkit::http::Client;
use testkit::ingress::{AUTHORITY, Door};
use testkit::lab::{Builder, Lab};

use super::ingress::{ANY_PORT, app, code, door, get};
use super::{sandbox, shown};
use crate::id_of;

/// A URL of this port: all that its maker is told.
async fn sign(lab: &Lab, id: &str, order: Value) -> Value {
    lab.api.post(&format!("/v1/sandbox/{id}/presigned-url"), order).await.expect(201).json()
}

/// The host in a URL, as clients send it.
fn host(made: &Value) -> String {
    made["url"].as_str().unwrap().strip_prefix("https://").unwrap().to_owned()
}

/// A client without a key.
fn anybody(door: &Door) -> Client {
    door.client("")
}

async fn delete(lab: &Lab, id: &str) {
    lab.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
}

pub async fn a_presigned_url_opens_one_port_to_anybody_and_the_app_never_hears_its_token(lab: Builder) {
    let lab = lab.start().await;
    let (door, _) = door(&lab).await;
    let (client, id) = (anybody(&door), sandbox(&lab).await);
    let port = app(&lab, &id, ANY_PORT).await;
    let made = sign(&lab, &id, json!({ "port": port })).await;
    let (host, token) = (host(&made), made["token"].as_str().unwrap());
    let origin = format!("https://{host}");
    let headers =
        [("host", host.as_str()), ("authorization", "Bearer app"), ("origin", &origin), ("referer", &origin)];
    let body = Bytes::from_static(b"body");
    let seen = client.send(Method::PUT, "/a//%2e?b", &headers, body.clone()).await.expect(200).json();
    assert_eq!(
        (&seen["method"], &seen["path"], &seen["body"]),
        (&json!("PUT"), &json!("/a//%2e?b"), &json!("626f6479"))
    );
    assert_eq!(seen["headers"]["host"], format!("{id}-{port}.{AUTHORITY}"));
    assert_eq!(seen["headers"]["origin"], format!("https://{id}-{port}.{AUTHORITY}"));
    assert_eq!(seen["headers"]["authorization"], "Bearer app", "what is not ours is the app's");
    assert!(!seen.to_string().contains(token), "the app sees the token");
    let path = format!("/v1/presigned/{token}/by-path");
    let seen = get(&client, "127.0.0.1", &path).await.expect(200).json();
    assert!(seen["path"] == "/by-path" && !seen.to_string().contains(token), "{seen}");
    let mut socket = client.socket(&format!("/v1/presigned/{token}/websocket")).await.unwrap();
    socket.type_in("to and fro").await;
    socket.until("to and fro").await;
    // It is a way to one port of one sandbox, and no key.
    assert_eq!(
        code(get(&client, &format!("{id}-{port}.{AUTHORITY}"), "/").await),
        (401, json!("unauthorized"))
    );
    let as_key = lab.api.with_key(token).get(&format!("/v1/sandbox/{id}")).await;
    assert_eq!(as_key.status, 401);
    delete(&lab, &id).await;
    lab.end().await;
}

pub async fn a_presigned_url_ends_when_it_expires_is_taken_back_or_its_sandbox_goes(lab: Builder) {
    let lab = lab.start().await;
    let (door, _) = door(&lab).await;
    let (client, id) = (anybody(&door), sandbox(&lab).await);
    let port = app(&lab, &id, ANY_PORT).await;
    let short = sign(&lab, &id, json!({ "port": port, "expires_in": 60 })).await;
    let (taken, kept) =
        (sign(&lab, &id, json!({ "port": port })).await, sign(&lab, &id, json!({ "port": port })).await);
    for made in [&short, &taken, &kept] {
        get(&client, &host(made), "/").await.expect(200);
    }
    lab.clock.advance(Duration::from_secs(61));
    let path = format!("/v1/sandbox/{id}/presigned-url/{}", taken["id"].as_str().unwrap());
    lab.api.delete(&path).await.expect(204);
    for made in [&short, &taken] {
        assert_eq!(code(get(&client, &host(made), "/").await), (404, json!("not_found")));
    }
    get(&client, &host(&kept), "/").await.expect(200);
    delete(&lab, &id).await;
    assert_eq!(code(get(&client, &host(&kept), "/").await), (404, json!("not_found")));
    lab.end().await;
}

pub async fn a_presigned_url_wakes_its_sandbox_and_outlives_parts_that_restart(lab: Builder) {
    let mut lab = lab.start().await;
    let (door, _) = door(&lab).await;
    let (client, id) = (anybody(&door), sandbox(&lab).await);
    let port = app(&lab, &id, ANY_PORT).await;
    lab.api.post(&format!("/v1/sandbox/{id}/pause"), json!({})).await.expect(201);
    let made = sign(&lab, &id, json!({ "port": port })).await;
    assert_eq!(shown(&lab, &id).await["state"], "paused", "making it wakes nobody");
    get(&client, &host(&made), "/").await.expect(200);
    assert_eq!(shown(&lab, &id).await["state"], "running");
    lab.stop_control().await;
    lab.start_control().await.unwrap();
    get(&client, &host(&made), "/").await.expect(200);
    delete(&lab, &id).await;
    lab.end().await;
}

pub async fn a_presigned_url_of_a_port_where_nobody_listens_says_so(lab: Builder) {
    let lab = lab.start().await;
    let door = lab.ingress(Limits { port_wait: Duration::ZERO, ..Limits::default() }).await;
    let id = sandbox(&lab).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let made = sign(&lab, &id, json!({ "port": free.local_addr().unwrap().port() })).await;
    let refused = get(&anybody(&door), &host(&made), "/").await;
    assert!(!String::from_utf8_lossy(&refused.body).contains(made["token"].as_str().unwrap()));
    assert_eq!(code(refused), (502, json!("nothing_listens")));
    delete(&lab, &id).await;
    lab.end().await;
}

pub async fn a_port_that_is_opened_is_open_to_anybody_and_no_other_is(lab: Builder) {
    let lab = lab.start().await;
    let (door, owner) = door(&lab).await;
    let (client, id) = (anybody(&door), sandbox(&lab).await);
    let port = app(&lab, &id, ANY_PORT).await;
    let (host, path) = (format!("{id}-{port}.{AUTHORITY}"), format!("/v1/sandbox/{id}/public-ports"));
    let websocket = format!("/v1/sandbox/{id}/invoke/{port}/websocket");
    assert_eq!(code(get(&client, &host, "/").await), (401, json!("unauthorized")));
    assert_eq!(client.socket(&websocket).await.err().unwrap().as_u16(), 401);
    let open = json!({ "ports": [port] });
    assert_eq!(lab.api.put(&path, open.clone()).await.expect(200).json(), open);
    assert_eq!(lab.api.get(&path).await.expect(200).json(), open);
    assert_eq!(shown(&lab, &id).await["public_ports"], json!([port]));
    let headers = [("host", host.as_str()), ("authorization", "Bearer app")];
    let seen = client.send(Method::GET, "/a", &headers, Bytes::new()).await.expect(200).json();
    assert_eq!(seen["headers"]["authorization"], "Bearer app", "what is not ours is the app's");
    let seen = get(&owner, &host, "/").await.expect(200).json();
    assert!(!seen.to_string().contains(lab.key()), "the app sees our key");
    let mut socket = client.socket(&websocket).await.unwrap();
    socket.type_in("to and fro").await;
    socket.until("to and fro").await;
    let other = format!("{id}-{}.{AUTHORITY}", if port == 8080 { 8081 } else { 8080 });
    for closed in [other, format!("{id}-1.{AUTHORITY}"), format!("{id}.{AUTHORITY}")] {
        assert_eq!(code(get(&client, &closed, "/").await), (401, json!("unauthorized")), "{closed}");
    }
    lab.api.put(&path, json!({ "ports": [] })).await.expect(200);
    assert_eq!(code(get(&client, &host, "/").await), (401, json!("unauthorized")));
    get(&owner, &host, "/").await.expect(200);
    delete(&lab, &id).await;
    lab.end().await;
}

pub async fn ports_can_be_open_from_the_start_and_asking_wakes(lab: Builder) {
    let lab = lab.start().await;
    let (door, _) = door(&lab).await;
    let client = anybody(&door);
    let first = sandbox(&lab).await;
    // Any port that is free there is likely to be free again.
    let port = app(&lab, &first, ANY_PORT).await;
    delete(&lab, &first).await;
    let order = json!({ "public_ports": [port], "env_vars": { "PORT": port.to_string() } });
    let made = lab.api.post("/v1/sandbox", order).await.expect(201).json();
    assert_eq!(made["public_ports"], json!([port]));
    let id = id_of(&made);
    app(&lab, &id, &port.to_string()).await;
    lab.api.post(&format!("/v1/sandbox/{id}/pause"), json!({})).await.expect(201);
    get(&client, &format!("{id}.{AUTHORITY}"), "/").await.expect(200);
    assert_eq!(shown(&lab, &id).await["state"], "running");
    delete(&lab, &id).await;
    assert_eq!(
        code(get(&client, &format!("{id}-{port}.{AUTHORITY}"), "/").await),
        (401, json!("unauthorized"))
    );
    lab.end().await;
}
