//! What passes, byte for byte and piece by piece.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::ingress::limits::Limits;
use proxy::ingress::trusted::Trusted;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::support::{BOUND, KEY, Stand, app, get, host, plain_app, raw_app, serve};
use crate::tls::connect;

#[tokio::test]
async fn methods_paths_and_queries_arrive_as_they_were_sent() {
    let stand = Stand::new().await;
    let (port, mut seen) = plain_app().await;
    let mut client = stand.client().await;
    for (method, path) in [
        ("GET", "/"),
        ("GET", "//a//../b/./%2e%2E/%00?x=%20+&&=;#"),
        ("DELETE", "/a?"),
        ("PATCH", "/%e4%f6?%zz"),
        ("PROPFIND", "/dav/"),
        ("X-OWN", "/?a=b?c=d"),
        ("OPTIONS", "/*"),
    ] {
        let path = path.trim_end_matches('#');
        let mut request = get(port, path);
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        client.ready().await.unwrap();
        assert_eq!(client.send_request(request).await.unwrap().status(), 200);
        let seen = seen.recv().await.unwrap();
        assert_eq!((seen.method.as_str(), seen.path.as_str()), (method, path));
        assert_eq!(seen.headers["host"], host(port));
        assert_eq!(seen.headers["x-forwarded-proto"], "http");
        assert!(!seen.headers.contains_key("leap0-authorization"));
    }
    assert_eq!(*stand.loopback.made.lock().unwrap(), 1, "one connection serves them all");
    stand.stop().await;
}

#[tokio::test]
async fn an_answer_arrives_piece_by_piece() {
    let stand = Stand::new().await;
    let (feed, pieces) = mpsc::unbounded_channel::<Bytes>();
    let pieces = std::sync::Arc::new(tokio::sync::Mutex::new(pieces));
    let port = serve(move |_| {
        let pieces = pieces.clone();
        let stream = futures_util::stream::unfold(pieces, |pieces| async move {
            let piece = pieces.lock().await.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(piece)), pieces))
        });
        let mut answer = Response::new(StreamBody::new(stream.boxed()).boxed_unsync());
        answer.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
        async move { answer }
    })
    .await;
    let answer = stand.client().await.send_request(get(port, "/events")).await.unwrap();
    let mut body = answer.into_body();
    for event in ["data: one\n\n", "data: two\n\n"] {
        // The next is only made when this one has arrived.
        feed.send(event.into()).unwrap();
        let frame =
            tokio::time::timeout(BOUND, body.frame()).await.expect("it is held back").unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
    }
    drop(feed);
    assert!(body.frame().await.is_none());
    stand.stop().await;
}

#[tokio::test]
async fn large_bodies_go_both_ways_at_once() {
    let stand = Stand::new().await;
    let port = serve(|request| async move { Response::new(echo(request.into_body())) }).await;
    let piece = Bytes::from(vec![7; 64 * 1024]);
    let pieces = 512;
    let sent =
        futures_util::stream::iter((0..pieces).map(move |_| Ok::<_, Infallible>(Frame::data(piece.clone()))));
    let io = TokioIo::new(stand.connect().await);
    let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/").header("host", host(port)).header("authorization", KEY);
    let answer = client.send_request(request.body(StreamBody::new(sent)).unwrap()).await.unwrap();
    let mut body = answer.into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.iter().all(|byte| *byte == 7));
        received += data.len();
    }
    assert_eq!(received, pieces * 64 * 1024);
    stand.stop().await;
}

fn echo(body: hyper::body::Incoming) -> crate::support::AppBody {
    let frames = futures_util::stream::unfold(body, |mut body| async move {
        let frame = body.frame().await?.ok()?;
        Some((Ok::<_, Infallible>(frame), body))
    });
    StreamBody::new(frames.boxed()).boxed_unsync()
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_go_on_is_told() {
    let stand = Stand::new().await;
    let (port, mut seen) = plain_app().await;
    let head =
        format!("POST / HTTP/1.1\r\nhost: {}\r\nauthorization: {KEY}\r\ncontent-length: 3\r\n", host(port));
    let mut stream = stand.connect().await;
    stream
        .write_all(format!("{head}expect: 100-continue\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut go_on = [0; 25];
    tokio::time::timeout(BOUND, stream.read_exact(&mut go_on)).await.expect("it is told").unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
    assert_eq!(seen.recv().await.unwrap().body, "abc");
    // One that is refused is never told to send its body.
    let refused = format!("{}expect: 100-continue\r\n\r\n", head.replace(KEY, "wrong"));
    let refused = stand.exchange(refused.as_bytes());
    assert!(refused.await.starts_with(b"HTTP/1.1 401"));
    stand.stop().await;
}

#[tokio::test]
async fn clients_of_http_1_0_are_served() {
    let stand = Stand::new().await;
    let (port, mut seen) = plain_app().await;
    let path = format!("/v1/sandbox/{}/invoke/{port}/x", crate::support::sandbox());
    let answer =
        stand.exchange(format!("GET {path} HTTP/1.0\r\nauthorization: {KEY}\r\n\r\n").as_bytes()).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nok"), "{answer}");
    let seen = seen.recv().await.unwrap();
    assert_eq!(
        (seen.path.as_str(), &seen.headers["host"]),
        ("/x", &HeaderValue::from_str(&host(port)).unwrap())
    );
    stand.stop().await;
}

#[tokio::test]
async fn the_length_and_state_of_what_has_no_body_are_the_apps() {
    let stand = Stand::new().await;
    let port = raw_app(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\netag: \"a\"\r\n\r\n").await;
    let mut request = get(port, "/");
    *request.method_mut() = Method::HEAD;
    let answer = stand.client().await.send_request(request).await.unwrap();
    assert_eq!(
        (&answer.headers()["content-length"], &answer.headers()["etag"]),
        (&HeaderValue::from(12), &HeaderValue::from_static("\"a\""))
    );
    let port = raw_app(b"HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n").await;
    assert_eq!(stand.client().await.send_request(get(port, "/")).await.unwrap().status(), 304);
    stand.stop().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    let stand = Stand::new().await;
    for said in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let port = raw_app(said).await;
        let answer = stand.client().await.send_request(get(port, "/")).await.unwrap();
        assert!(answer.into_body().collect().await.is_err(), "{said:?}");
    }
    stand.stop().await;
}

#[tokio::test]
async fn a_sandbox_that_goes_takes_its_requests_with_it() {
    let stand = Stand::new().await;
    let port = serve(|_| async {
        Response::new(
            StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>())
                .boxed_unsync(),
        )
    })
    .await;
    let answer = stand.client().await.send_request(get(port, "/")).await.unwrap();
    stand.loopback.end_leases();
    let ended = tokio::time::timeout(BOUND, answer.into_body().collect()).await;
    assert!(ended.expect("it ends").is_err());
    stand.stop().await;
}

#[tokio::test]
async fn grpc_goes_to_the_app_as_http_2_with_its_trailers() {
    let stand = Stand::new().await;
    let port = serve(|request| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.headers()["te"], "trailers");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let body = Full::from(body).with_trailers(std::future::ready(Some(Ok(trailers))));
        Response::builder().header("content-type", "application/grpc").body(body.boxed_unsync()).unwrap()
    })
    .await;
    let stream = connect(&stand, &host(port), &[b"h2"]).await;
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::post(format!("https://{}/Service/Method", host(port)))
            .header("content-type", "application/grpc+proto")
            .header("te", "trailers")
            .header("authorization", KEY);
        let answer =
            client.send_request(request.body(Full::<Bytes>::from("message")).unwrap()).await.unwrap();
        let answer = answer.into_body().collect().await.unwrap();
        assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(answer.to_bytes(), "message");
    }
    assert_eq!(*stand.loopback.made.lock().unwrap(), 1, "they share a connection");
    drop(client);
    stand.stop().await;
}

#[tokio::test]
async fn trailers_pass_in_http_1_where_they_are_announced() {
    let stand = Stand::new().await;
    let (port, _seen) = app(|_| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("42"));
        let pieces =
            futures_util::stream::iter([Ok(Frame::data(Bytes::from("ok"))), Ok(Frame::trailers(trailers))]);
        Response::builder().header("trailer", "x-sum").body(StreamBody::new(pieces).boxed_unsync()).unwrap()
    })
    .await;
    let mut request = get(port, "/");
    request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    let answer = stand.client().await.send_request(request).await.unwrap();
    let whole = answer.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["x-sum"], "42");
    stand.stop().await;
}

#[tokio::test]
async fn a_load_balancer_of_ours_says_for_whom_it_asks() {
    let here = Trusted(vec!["127.0.0.0/8".parse().unwrap()]);
    let limits = Limits { address_connections_max: 0, ..Limits::default() };
    let stand = Stand::behind(here, limits).await;
    let (port, mut seen) = plain_app().await;
    let mut request = get(port, "/");
    for (name, value) in [("x-forwarded-for", "10.9.9.9, 192.0.2.7"), ("x-forwarded-proto", "https")] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    assert_eq!(stand.client().await.send_request(request).await.unwrap().status(), 200);
    let seen = seen.recv().await.unwrap();
    assert_eq!(
        (&seen.headers["x-forwarded-for"], &seen.headers["x-forwarded-proto"]),
        (&"192.0.2.7".parse().unwrap(), &"https".parse().unwrap())
    );
    stand.stop().await;
}
