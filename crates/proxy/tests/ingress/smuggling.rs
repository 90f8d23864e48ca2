//! Requests that two machines could read as two different ones. What the app sees is one request, framed by us, or none.

use crate::support::{KEY, Stand, host, plain_app};

/// What clients of these tests send last: whoever answers it still knows where requests begin.
const LAST: &str = "GET /last HTTP/1.1\r\nhost: HOST\r\nauthorization: KEY\r\nconnection: close\r\n\r\n";

/// Sends this and the last request on one connection. `statuses` come back; the app sees `seen`, each as method, path and
/// body.
async fn check(sent: &str, statuses: &[u16], seen: &[&str]) {
    let stand = Stand::new().await;
    let (port, mut requests) = plain_app().await;
    let sent_whole = format!("{sent}{LAST}").replace("HOST", &host(port)).replace("KEY", KEY);
    let answer = stand.exchange(sent_whole.as_bytes()).await;
    let answer = String::from_utf8_lossy(&answer);
    let lines = answer.match_indices("HTTP/1.").map(|(at, _)| answer[at + 9..at + 12].parse().unwrap());
    assert_eq!(lines.collect::<Vec<u16>>(), statuses, "{sent:?} was answered {answer}");
    stand.stop().await;
    let mut heard = Vec::new();
    while let Ok(request) = requests.try_recv() {
        assert_eq!(request.headers.get_all("host").iter().count(), 1);
        let is_framed_once = !(request.headers.contains_key("content-length")
            && request.headers.contains_key("transfer-encoding"));
        assert!(is_framed_once, "{sent:?} went on as {:?}", request.headers);
        let body = String::from_utf8_lossy(&request.body).into_owned();
        heard.push(format!("{} {} {body}", request.method, request.path));
    }
    assert_eq!(heard, seen, "{sent:?}");
}

/// The front of a request that would be well formed if nothing else came.
const POST: &str = "POST /a HTTP/1.1\r\nhost: HOST\r\nauthorization: KEY\r\n";
const LAST_SEEN: &str = "GET /last ";

#[tokio::test]
async fn well_formed_requests_follow_each_other() {
    let length = format!("{POST}content-length: 3\r\n\r\nabc");
    check(&length, &[200, 200], &["POST /a abc", LAST_SEEN]).await;
    let chunked = format!("{POST}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    check(&chunked, &[200, 200], &["POST /a abc", LAST_SEEN]).await;
    let extended = format!("{POST}transfer-encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0;z\r\n\r\n");
    check(&extended, &[200, 200], &["POST /a abc", LAST_SEEN]).await;
    let none = format!("{POST}\r\n");
    check(&none, &[200, 200], &["POST /a ", LAST_SEEN]).await;
    let same = format!("{POST}content-length: 3\r\ncontent-length: 3\r\n\r\nabc");
    check(&same, &[200, 200], &["POST /a abc", LAST_SEEN]).await;
}

#[tokio::test]
async fn a_body_with_two_lengths_is_refused_and_nothing_after_it_read() {
    for headers in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 0\r\n",
        "content-length: 300\r\nTransfer-Encoding: Chunked\r\n",
    ] {
        let sent = format!("{POST}{headers}\r\n0\r\n\r\n");
        check(&sent, &[400], &[]).await;
        let hidden = format!("{POST}{headers}\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: HOST\r\n\r\n");
        check(&hidden, &[400], &[]).await;
        let first = format!("{POST}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        check(&format!("{first}{hidden}"), &[200, 400], &["POST /a abc"]).await;
    }
}

#[tokio::test]
async fn lengths_that_are_none_are_refused() {
    for headers in [
        "content-length: 3\r\ncontent-length: 4\r\n",
        "content-length: 3, 3\r\n",
        "content-length: 3, 4\r\n",
        "content-length: +3\r\n",
        "content-length: -3\r\n",
        "content-length: 0x3\r\n",
        "content-length: 3 3\r\n",
        "content-length: \r\n",
        "content-length: 18446744073709551616\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding: \r\n",
    ] {
        check(&format!("{POST}{headers}\r\nabc"), &[400], &[]).await;
    }
}

#[tokio::test]
async fn lines_that_can_be_read_in_two_ways_are_refused() {
    for headers in [
        "content-length : 3\r\n",
        "transfer-encoding : chunked\r\n",
        " transfer-encoding: chunked\r\n",
        "x-a: 1\r\n transfer-encoding: chunked\r\n",
        "x-a: 1\r\n\tfolded\r\n",
        "x a: 1\r\n",
        "x-a\r\n",
        ": 1\r\n",
        "x-a: a\0b\r\n",
        "x-a: a\rb\r\n",
        "x\u{0}a: 1\r\n",
        "content-length\t: 3\r\n",
    ] {
        check(&format!("{POST}{headers}\r\nabc"), &[400], &[]).await;
    }
}

#[tokio::test]
async fn request_lines_that_can_be_read_in_two_ways_are_refused() {
    let rest = "host: HOST\r\nauthorization: KEY\r\n\r\n";
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / /x HTTP/1.1",
        "GET /\thello HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET /",
        "G ET / HTTP/1.1",
        "GET / HTTP/0.9",
        "(GET / HTTP/1.1",
    ] {
        check(&format!("{line}\r\n{rest}"), &[400], &[]).await;
    }
}

#[tokio::test]
async fn a_request_for_several_hosts_is_refused() {
    for head in [
        "GET / HTTP/1.1\r\nhost: HOST\r\nhost: HOST\r\n",
        "GET / HTTP/1.1\r\nhost: HOST\r\nhost: other.test\r\n",
        "GET / HTTP/1.1\r\n",
        "GET http://other.test/ HTTP/1.1\r\nhost: HOST\r\n",
        "GET http://HOST/ HTTP/1.1\r\nhost: other.test\r\n",
        "GET / HTTP/1.1\r\nhost: HOST, other.test\r\n",
        "GET / HTTP/1.1\r\nhost: me@HOST\r\n",
        "GET / HTTP/1.1\r\nhost: HOST/x\r\n",
    ] {
        let sent = format!("{head}authorization: KEY\r\nconnection: close\r\n\r\n");
        check(&sent, &[400], &[]).await;
    }
    let absolute = "GET http://HOST/p?q HTTP/1.1\r\nhost: HOST\r\nauthorization: KEY\r\n\r\n";
    check(absolute, &[200, 200], &["GET /p?q ", LAST_SEEN]).await;
}

#[tokio::test]
async fn chunks_that_are_none_end_the_connection() {
    for chunks in [
        "g\r\nabc\r\n0\r\n\r\n",
        "-1\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
    ] {
        let stand = Stand::new().await;
        let (port, mut requests) = plain_app().await;
        let head = POST.replace("HOST", &host(port)).replace("KEY", KEY);
        let sent = format!(
            "{head}transfer-encoding: chunked\r\n\r\n{chunks}GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let answer = stand.exchange(sent.as_bytes()).await;
        let statuses = String::from_utf8_lossy(&answer).matches("HTTP/1.1 ").count();
        assert!(statuses <= 1, "{chunks:?} was answered {}", String::from_utf8_lossy(&answer));
        stand.stop().await;
        while let Ok(request) = requests.try_recv() {
            assert_eq!(request.path, "/a", "{chunks:?}");
        }
    }
}

#[tokio::test]
async fn an_upgrade_to_what_nobody_checks_is_no_upgrade() {
    for headers in [
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "connection: upgrade\r\nupgrade: h2c\r\n",
        "connection: upgrade\r\nupgrade: websocket, h2c\r\n",
        "connection: upgrade\r\nupgrade: tls/1.0\r\n",
        "upgrade: websocket\r\n",
    ] {
        let sent = format!("GET /a HTTP/1.1\r\nhost: HOST\r\nauthorization: KEY\r\n{headers}\r\n");
        check(&sent, &[200, 200], &["GET /a ", LAST_SEEN]).await;
    }
}
