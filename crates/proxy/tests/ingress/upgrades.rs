//! WebSockets, by either version of HTTP: what follows the handshake is carried and not looked at.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{AppBody, BOUND, KEY, Stand, get, host, serve};
use crate::tls::connect;

/// An app that agrees to every WebSocket and says back what it is told.
async fn echo_app() -> u16 {
    serve(|mut request: Request<Incoming>| async move {
        let headers = request.headers();
        if headers.get("upgrade").is_none() {
            return answer(StatusCode::UPGRADE_REQUIRED);
        }
        assert_eq!(
            (&headers["upgrade"], &headers["connection"]),
            (&HeaderValue::from_static("websocket"), &HeaderValue::from_static("upgrade"))
        );
        assert!(headers.contains_key("sec-websocket-key") && headers["sec-websocket-version"] == "13");
        assert_eq!(request.method(), "GET");
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded.await.unwrap()));
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
            let _ = writer.shutdown().await;
        });
        let mut answer = answer(StatusCode::SWITCHING_PROTOCOLS);
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "x"),
            ("sec-websocket-protocol", "chat"),
        ] {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    })
    .await
}

fn answer(status: StatusCode) -> Response<AppBody> {
    Response::builder().status(status).body(Empty::new().boxed_unsync()).unwrap()
}

fn websocket(port: u16) -> Request<Full<Bytes>> {
    let mut request = get(port, "/chat?room=1");
    for (name, value) in [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", "a2V5"),
        ("sec-websocket-version", "13"),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    request
}

/// Says something and hears it back.
async fn is_echoed(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) {
    let said = [0x81, 0, 255, 13, 10, 13, 10];
    stream.write_all(&said).await.unwrap();
    let mut heard = [0; 7];
    tokio::time::timeout(BOUND, stream.read_exact(&mut heard)).await.expect("it is carried").unwrap();
    assert_eq!(heard, said);
}

#[tokio::test]
async fn a_websocket_of_http_1_is_carried_both_ways() {
    let stand = Stand::new().await;
    let port = echo_app().await;
    let mut answer = stand.client().await.send_request(websocket(port)).await.unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(
        (&answer.headers()["sec-websocket-accept"], &answer.headers()["upgrade"]),
        (&HeaderValue::from_static("x"), &HeaderValue::from_static("websocket"))
    );
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    is_echoed(&mut stream).await;
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "the app heard that the client left");
    stand.stop().await;
}

#[tokio::test]
async fn what_is_under_way_is_over_when_its_port_is_closed_also_before_it_is_answered() {
    let stand = Stand::new().await;
    let (port, silent) = (echo_app().await, serve(|_| std::future::pending()).await);
    stand.book.open(port);
    stand.book.open(silent);
    let without_key = |mut request: Request<Full<Bytes>>| {
        request.headers_mut().remove("leap0-authorization");
        request
    };
    let mut answer = stand.client().await.send_request(without_key(websocket(port))).await.unwrap();
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    is_echoed(&mut stream).await;
    let mut client = stand.client().await;
    let waiting = tokio::spawn(async move { client.send_request(without_key(get(silent, "/"))).await });
    stand.book.close(port);
    stand.book.close(silent);
    let read = tokio::time::timeout(BOUND, stream.read(&mut [0; 1])).await.expect("it is cut");
    assert!(!matches!(read, Ok(1..)));
    let refused = tokio::time::timeout(BOUND, waiting).await.expect("it is answered").unwrap().unwrap();
    // Taken back while it waited, or before it came.
    assert!([401, 403].contains(&refused.status().as_u16()), "{}", refused.status());
    stand.stop().await;
}

#[tokio::test]
async fn a_websocket_of_http_2_is_carried_to_an_app_that_speaks_http_1() {
    let stand = Stand::new().await;
    let port = echo_app().await;
    let stream = connect(&stand, &host(port), &[b"h2"]).await;
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    // What the server can do is in its first frame.
    let ask = |protocol: &'static str| {
        let request = Request::connect(format!("https://{}/chat", host(port)))
            .extension(Protocol::from_static(protocol))
            .header("sec-websocket-version", "13")
            .header("authorization", KEY);
        request.body(Empty::<Bytes>::new()).unwrap()
    };
    let plain = Request::get(format!("https://{}/", host(port))).header("authorization", KEY);
    let status = client.send_request(plain.body(Empty::new()).unwrap()).await.unwrap().status();
    assert_eq!(status, StatusCode::UPGRADE_REQUIRED);
    let mut answer = client.send_request(ask("websocket")).await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["sec-websocket-protocol"]),
        (StatusCode::OK, &HeaderValue::from_static("chat"))
    );
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    is_echoed(&mut stream).await;
    drop(stream);
    assert_eq!(client.send_request(ask("connect-udp")).await.unwrap().status(), 501);
    drop(client);
    stand.stop().await;
}

#[tokio::test]
async fn an_app_may_refuse_a_websocket() {
    let stand = Stand::new().await;
    let port = serve(|_| async { answer(StatusCode::FORBIDDEN) }).await;
    assert_eq!(stand.client().await.send_request(websocket(port)).await.unwrap().status(), 403);
    stand.stop().await;
}

#[tokio::test]
async fn a_websocket_ends_with_its_sandbox_or_with_the_server() {
    for ends_with_the_sandbox in [true, false] {
        let stand = Stand::new().await;
        let port = echo_app().await;
        let mut answer = stand.client().await.send_request(websocket(port)).await.unwrap();
        let mut stream = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
        is_echoed(&mut stream).await;
        if ends_with_the_sandbox {
            stand.loopback.end_leases();
            let ended = tokio::time::timeout(BOUND, stream.read(&mut [0; 1])).await;
            assert!(!matches!(ended.expect("it ends"), Ok(1..)));
            stand.stop().await;
        } else {
            stand.stop().await;
            let ended = tokio::time::timeout(BOUND, stream.read(&mut [0; 1])).await;
            assert!(!matches!(ended.expect("it ends"), Ok(1..)));
        }
    }
}
