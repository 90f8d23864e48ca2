//! Who gets nowhere, and how that is told.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use proxy::ingress::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{BOUND, KEY, Stand, get, host, plain_app, raw_app, sandbox};

/// The status, and the code in the body.
async fn refused(stand: &Stand, request: Request<Full<Bytes>>) -> (u16, String) {
    let answer = stand.client().await.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    (status, body["code"].as_str().unwrap().to_owned())
}

fn asked(host: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let request = Request::builder().uri("/").header("host", host);
    let add = |request: http::request::Builder, (name, value): &(&str, &str)| request.header(*name, *value);
    headers.iter().fold(request, add).body(Full::default()).unwrap()
}

#[tokio::test]
async fn without_a_key_nobody_gets_anywhere_websockets_neither() {
    let stand = Stand::new().await;
    let (port, mut seen) = plain_app().await;
    let websocket = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "a2V5")];
    for headers in [&[][..], &[("authorization", "wrong")], &websocket] {
        let (status, code) = refused(&stand, asked(&host(port), headers)).await;
        assert_eq!((status, code.as_str()), (401, "unauthorized"), "{headers:?}");
    }
    assert!(seen.try_recv().is_err(), "the app heard of it");
    stand.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let stand = Stand::new().await;
    let key = ("authorization", KEY);
    assert_eq!(refused(&stand, asked("www.sandbox.localhost", &[key])).await.0, 404);
    assert_eq!(refused(&stand, asked("elsewhere.test", &[key])).await.1, "no_such_sandbox");
    // Nobody listens on the discard port.
    let (status, code) = refused(&stand, asked(&host(9), &[key])).await;
    assert_eq!((status, code.as_str()), (502, "nothing_listens"));
    stand.book.delete(sandbox());
    assert_eq!(refused(&stand, asked(&host(9), &[key])).await.0, 410);
    stand.stop().await;
}

#[tokio::test]
async fn apps_that_do_not_speak_http_are_a_bad_gateway() {
    let stand = Stand::new().await;
    for said in [
        &b""[..],
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nbad header: 1\r\n\r\n",
    ] {
        let port = raw_app(said).await;
        let (status, _) = refused(&stand, get(port, "/")).await;
        assert_eq!(status, 502, "{said:?}");
    }
    stand.stop().await;
}

#[tokio::test]
async fn whoever_takes_too_long_or_says_too_much_is_shed() {
    let wait = Duration::from_millis(200);
    let stand = Stand::with(Limits {
        handshake_wait: wait,
        head_wait: wait,
        body_idle: wait,
        sandbox_requests_max: 1,
        ..Limits::default()
    })
    .await;
    let (port, _seen) = plain_app().await;
    // Nothing at all, and half a head: the connection ends without anything being said, or with 408.
    for front in ["", "GET / HTTP/1.1\r\nhost: "] {
        let answer = stand.exchange(front.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
    }
    let head = format!("POST / HTTP/1.1\r\nhost: {}\r\nauthorization: {KEY}\r\n", host(port));
    let answer = stand.exchange(format!("{head}content-length: 9\r\n\r\nhalf").as_bytes()).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"body_idle\""), "{answer}");
    let many = "x-a: 1\r\n".repeat(200);
    let answer = stand.exchange(format!("{head}{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    let long = "a".repeat(128 * 1024);
    let answer = stand.exchange(format!("{head}x-a: {long}\r\n\r\n").as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    stand.stop().await;
}

#[tokio::test]
async fn one_request_too_many_is_told_to_come_back() {
    let stand = Stand::with(Limits { sandbox_requests_max: 1, ..Limits::default() }).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut first = stand.connect().await;
    let head = format!("GET / HTTP/1.1\r\nhost: {}\r\nauthorization: {KEY}\r\n\r\n", host(port));
    first.write_all(head.as_bytes()).await.unwrap();
    let (mut app, _) = silent.accept().await.unwrap();
    let answer = stand.client().await.send_request(get(port, "/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("\"sandbox_requests_max\""), "{body:?}");
    // The client leaves, and the app hears of it.
    drop(first);
    let mut rest = Vec::new();
    tokio::time::timeout(BOUND, app.read_to_end(&mut rest)).await.expect("the app hears of it").unwrap();
    stand.stop().await;
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_told_so() {
    let stand = Stand::with(Limits { address_connections_max: 2, ..Limits::default() }).await;
    let (port, _seen) = plain_app().await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = stand.client().await;
        assert_eq!(client.send_request(get(port, "/")).await.unwrap().status(), 200);
        kept.push(client);
    }
    let answer = stand.client().await.send_request(get(port, "/")).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["connection"]), (429, &"close".parse().unwrap()));
    assert!(answer.headers().contains_key("retry-after"));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("\"address_connections_max\""), "{body:?}");
    drop(kept);
    // The others' ends have to be seen first.
    let again = async {
        while stand.client().await.send_request(get(port, "/")).await.map_or(true, |it| it.status() != 200) {}
    };
    tokio::time::timeout(BOUND, again).await.expect("there is room again");
    stand.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_or_broken_off() {
    let stand = Stand::with(Limits { body_bytes_max: Some(1000), ..Limits::default() }).await;
    let (port, mut seen) = plain_app().await;
    let head =
        format!("POST / HTTP/1.1\r\nhost: {}\r\nauthorization: {KEY}\r\nconnection: close\r\n", host(port));
    let fitting = format!("{head}content-length: 1000\r\n\r\n{}", "a".repeat(1000));
    assert!(stand.exchange(fitting.as_bytes()).await.starts_with(b"HTTP/1.1 200"));
    assert_eq!(seen.recv().await.unwrap().body.len(), 1000);
    let told = format!("{head}content-length: 1001\r\n\r\n");
    let untold = format!("{head}transfer-encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n", "a".repeat(1001));
    for sent in [told, untold] {
        let answer = String::from_utf8_lossy(&stand.exchange(sent.as_bytes()).await).into_owned();
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("\"body_bytes_max\""), "{answer}");
    }
    stand.stop().await;
}
