//! Plain requests and their answers, byte by byte: raw clients, and apps of which each connection is the test's to play.

use std::time::Duration;

use proxy::ingress::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::{BOUND, KEY, Stand, host, plain_app};

/// An app's place, where the test takes connections.
struct App {
    listener: TcpListener,
    port: u16,
}

impl App {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    async fn take(&self) -> TcpStream {
        timeout(BOUND, self.listener.accept()).await.expect("the app is asked").unwrap().0
    }

    /// A client that has asked for something, and the connection on which the app was.
    async fn asked_by_a_client(&self, stand: &Stand, method: &str) -> (TcpStream, TcpStream) {
        let mut client = stand.connect().await;
        client.write_all(&self.asked(method, "")).await.unwrap();
        let mut asked = self.take().await;
        until(&mut asked, HEAD_END).await;
        (client, asked)
    }

    fn asked(&self, method: &str, headers: &str) -> Vec<u8> {
        let (host, key) = (host(self.port), format!("leap0-authorization: {KEY}"));
        format!("{method} / HTTP/1.1\r\nhost: {host}\r\n{key}\r\n{headers}\r\n").into_bytes()
    }
}

/// What comes until it ends with this.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        let read = timeout(BOUND, stream.read_u8()).await;
        let all_so_far = String::from_utf8_lossy(&all);
        all.push(read.unwrap_or_else(|_| panic!("no {end:?} after {all_so_far:?}")).unwrap());
    }
    String::from_utf8(all).unwrap()
}

/// Nothing more comes, and the other end is closed or reset.
async fn closed(stream: &mut TcpStream) {
    assert_eq!(timeout(BOUND, stream.read(&mut [0; 1])).await.expect("it is closed").unwrap_or(0), 0);
}

/// What comes to the end of the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // It may be reset.
    let _ = timeout(BOUND, stream.read_to_end(&mut all)).await.expect("the connection ends");
    String::from_utf8(all).unwrap()
}

const HEAD_END: &str = "\r\n\r\n";
/// How long nothing is taken by somebody who takes nothing.
const SILENCE: Duration = Duration::from_millis(500);

#[tokio::test]
async fn plain_and_other_requests_follow_each_other_on_one_connection() {
    let stand = Stand::new().await;
    let (port, mut seen) = plain_app().await;
    let front = format!("HTTP/1.1\r\nhost: {}\r\nauthorization: {KEY}\r\n", host(port));
    let sent = [
        format!("GET /1 {front}\r\n"),
        format!("POST /2 {front}content-length: 3\r\n\r\nabc"),
        format!("PUT /3 {front}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        format!("GET /4 {front}\r\n"),
        format!("GET /5 {front}connection: close\r\n\r\n"),
    ];
    for at_once in [1, 7, 10_000] {
        let mut client = stand.connect().await;
        for piece in sent.concat().as_bytes().chunks(at_once) {
            client.write_all(piece).await.unwrap();
            client.flush().await.unwrap();
        }
        assert_eq!(rest(&mut client).await.matches("HTTP/1.1 200 OK\r\n").count(), 5, "{at_once} at once");
        for (path, body) in [("/1", ""), ("/2", "abc"), ("/3", "hi"), ("/4", ""), ("/5", "")] {
            let request = seen.recv().await.unwrap();
            assert_eq!((request.path.as_str(), &request.body[..]), (path, body.as_bytes()));
        }
    }
    stand.stop().await;
}

#[tokio::test]
async fn an_answer_is_carried_wherever_it_ends() {
    let stand = Stand::new().await;
    let app = App::new().await;
    for (method, answer, is_whole, expect) in [
        ("GET", "content-length: 2\r\n\r\nok", true, "content-length: 2\r\n\r\nok"),
        ("GET", "content-length: 0\r\n\r\n", true, "content-length: 0\r\n\r\n"),
        ("HEAD", "content-length: 9\r\n\r\n", true, "content-length: 9\r\n\r\n"),
        (
            "GET",
            "transfer-encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nx: y\r\n\r\n",
            true,
            "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        ("GET", "x: y\r\n\r\nok", false, "x: y\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ] {
        let (mut client, mut asked) = app.asked_by_a_client(&stand, method).await;
        asked
            .write_all(format!("HTTP/1.1 103 Wait\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n{answer}").as_bytes())
            .await
            .unwrap();
        if !is_whole {
            asked.shutdown().await.unwrap();
        }
        let got = until(&mut client, expect).await;
        assert_eq!(got, format!("HTTP/1.1 200 OK\r\n{expect}"), "{answer:?}");
        drop((client, asked));
    }
    stand.stop().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_none_ends_the_connection() {
    let stand = Stand::new().await;
    let app = App::new().await;
    for answer in [
        "content-length: 3\r\n\r\nok",
        "transfer-encoding: chunked\r\n\r\n2\r\nok",
        "transfer-encoding: chunked\r\n\r\n2\r\nok!\r\n",
    ] {
        let (mut client, mut asked) = app.asked_by_a_client(&stand, "GET").await;
        asked.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes()).await.unwrap();
        asked.shutdown().await.unwrap();
        let got = rest(&mut client).await;
        assert!(!got.ends_with("0\r\n\r\n") && got.contains("ok"), "{got:?}");
    }
    stand.stop().await;
}

#[tokio::test]
async fn a_connection_that_its_app_has_closed_is_not_asked_and_nothing_is_asked_for_twice() {
    let stand = Stand::new().await;
    let app = App::new().await;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let mut client = stand.connect().await;
    for method in ["GET", "POST"] {
        // Closed while nobody needs it.
        for _ in 0..2 {
            client.write_all(&app.asked(method, "content-length: 0\r\n")).await.unwrap();
            let mut asked = app.take().await;
            until(&mut asked, HEAD_END).await;
            asked.write_all(answer).await.unwrap();
            until(&mut client, "ok").await;
            drop(asked);
        }
    }
    // Closed when it is asked: what may be done twice is asked for again, and what may not is not.
    client.write_all(&app.asked("GET", "")).await.unwrap();
    let mut asked = app.take().await;
    for (method, again) in [("GET", true), ("POST", false)] {
        until(&mut asked, HEAD_END).await;
        asked.write_all(answer).await.unwrap();
        until(&mut client, "ok").await;
        client.write_all(&app.asked(method, "content-length: 0\r\n")).await.unwrap();
        until(&mut asked, HEAD_END).await;
        drop(asked);
        if !again {
            assert!(until(&mut client, HEAD_END).await.starts_with("HTTP/1.1 502 "));
            break;
        }
        asked = app.take().await;
    }
    stand.stop().await;
}

#[tokio::test]
async fn an_app_hears_when_its_client_leaves_and_a_client_may_say_more_before_it_is_answered() {
    let stand = Stand::new().await;
    let app = App::new().await;
    let (mut client, mut asked) = app.asked_by_a_client(&stand, "GET").await;
    client.write_all(&app.asked("GET", "x-second: 1\r\n")).await.unwrap();
    asked.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert!(until(&mut asked, HEAD_END).await.contains("x-second"));
    until(&mut client, HEAD_END).await;
    drop(client);
    closed(&mut asked).await;
    stand.stop().await;
}

#[tokio::test]
async fn an_answer_that_goes_on_is_cut_when_its_client_leaves() {
    let stand = Stand::new().await;
    let app = App::new().await;
    let (mut client, mut asked) = app.asked_by_a_client(&stand, "GET").await;
    asked.write_all(b"HTTP/1.1 200 OK\r\n\r\nevent").await.unwrap();
    assert!(until(&mut client, "event\r\n").await.contains("chunked"));
    drop(client);
    closed(&mut asked).await;
    stand.stop().await;
}

#[tokio::test]
async fn a_connection_that_nobody_needs_ends_with_its_sandbox_at_once() {
    // As long as that, it would wait for the next request.
    let limits = Limits { upstream_idle: 10 * BOUND, ..Limits::default() };
    let stand = Stand::with(limits).await;
    let app = App::new().await;
    let (mut client, mut asked) = app.asked_by_a_client(&stand, "GET").await;
    asked.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    until(&mut client, HEAD_END).await;
    stand.loopback.end_leases();
    closed(&mut asked).await;
    stand.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_keeps_no_connection_into_a_sandbox_that_goes() {
    let stand = Stand::new().await;
    let app = App::new().await;
    let (client, mut asked) = app.asked_by_a_client(&stand, "GET").await;
    asked.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    // Until nobody takes any more.
    let piece = vec![b'x'; 1 << 20];
    while timeout(SILENCE, asked.write_all(&piece)).await.is_ok() {}
    stand.loopback.end_leases();
    let ended = timeout(BOUND, async { while asked.write_all(&piece).await.is_ok() {} }).await;
    ended.expect("it is closed");
    drop(client);
    stand.stop().await;
}
