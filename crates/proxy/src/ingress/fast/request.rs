//! Plain requests, as they are read and sent on. Pure.
//!
//! What is plain can be read in one way only: no header says more than once where it goes or how long it is, none is about
//! the connection but that it stays, and its body, if it has one, is as long as it says and there.

use std::mem::MaybeUninit;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use crate::ingress::limits::Limits;
use crate::ingress::refusal::wants_page;
use crate::ingress::upstream::is_grpc;

/// Headers of a plain request.
const HEADERS_MAX: usize = 100;
/// Headers that the door may add.
const ADDED_MAX: usize = 6;
/// The value of `connection` that changes nothing.
const KEEP_ALIVE: &[u8] = b"keep-alive";

/// What has come of a request.
pub enum Came {
    /// All of it, and it is plain.
    Plain(Box<Plain>),
    /// The beginning of one that may be.
    Part,
    /// Something else.
    Other,
}

/// A plain request.
pub struct Plain {
    /// Its head.
    pub head: Parts,
    /// Its body.
    pub body: Bytes,
    /// How long both are, in bytes.
    pub bytes: usize,
    /// Whether it is a browser's, which wants to show what it gets.
    pub wants_page: bool,
}

impl Plain {
    /// Whether no body is wanted.
    pub fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }
}

/// What the first bytes of a connection, or those after the last request, are.
pub fn read(bytes: &[u8], limits: &Limits) -> Came {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let bytes = Bytes::copy_from_slice(bytes);
    let head_bytes = match parsed.parse_with_uninit_headers(&bytes, &mut headers) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Came::Part,
        Err(_) => return Came::Other,
    };
    let is_small = head_bytes <= limits.head_bytes_max && parsed.headers.len() <= limits.headers_max;
    let plain = plain(&parsed, &bytes, head_bytes).filter(|_| is_small);
    plain.map_or(Came::Other, |plain| Came::Plain(Box::new(plain)))
}

fn plain(parsed: &httparse::Request<'_, '_>, bytes: &Bytes, head_bytes: usize) -> Option<Plain> {
    // HTTP/1.1, and a path: what a server is asked for, not a proxy.
    let path = parsed.path.filter(|path| parsed.version == Some(1) && path.starts_with('/'))?;
    let method = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    let path = PathAndQuery::from_maybe_shared(bytes.slice_ref(path.as_bytes())).ok()?;
    let headers = headers(parsed.headers, bytes)?;
    let body_bytes = length(&headers)?;
    if method == Method::CONNECT || !headers.contains_key(HOST) || is_grpc(&headers) {
        return None;
    }
    let end = head_bytes.checked_add(body_bytes).filter(|end| *end <= bytes.len())?;
    let wants_page = wants_page(&headers);
    let (mut head, ()) = Request::new(()).into_parts();
    (head.method, head.uri, head.headers) = (method, Uri::from(path), headers);
    Some(Plain { head, body: bytes.slice(head_bytes..end), bytes: end, wants_page })
}

/// The headers, if each may be in a plain request.
fn headers(parsed: &[httparse::Header<'_>], bytes: &Bytes) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(parsed.len() + ADDED_MAX);
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        let may_pass = match name {
            HOST | CONTENT_LENGTH => !headers.contains_key(&name),
            CONNECTION => header.value.eq_ignore_ascii_case(KEEP_ALIVE),
            EXPECT | TE | TRAILER | TRANSFER_ENCODING | UPGRADE => false,
            _ => true,
        };
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value)).ok();
        headers.append(name, value.filter(|_| may_pass)?);
    }
    Some(headers)
}

/// How long the body says that it is, in bytes.
fn length(headers: &HeaderMap) -> Option<usize> {
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Some(0) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// Writes a request as the app gets it.
pub fn write(out: &mut BytesMut, method: &Method, path: &PathAndQuery, headers: &HeaderMap) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.put_u8(b' ');
    out.extend_from_slice(path.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_headers(out, headers);
    out.extend_from_slice(b"\r\n");
}

/// Writes the lines of headers.
pub fn write_headers(out: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        out.reserve(name.as_str().len() + value.len() + b": \r\n".len());
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it is: `part`, `other`, or the method, path and body with how much it took.
    fn came(bytes: &str) -> String {
        match read(bytes.as_bytes(), &Limits::default()) {
            Came::Plain(plain) => {
                let (Parts { method, uri, .. }, body) = (&plain.head, String::from_utf8_lossy(&plain.body));
                format!("{method} {uri} [{body}] {}", plain.bytes)
            }
            Came::Part => "part".to_owned(),
            Came::Other => "other".to_owned(),
        }
    }

    #[test]
    fn what_has_come_whole_and_can_be_read_in_one_way_is_plain() {
        assert_eq!(came("GET /a?b HTTP/1.1\r\nhost: h\r\n\r\n"), "GET /a?b [] 30");
        assert_eq!(came("GET / HTTP/1.1\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\nGET"), "GET / [] 51");
        assert_eq!(came("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nabc"), "POST / [ab] 49");
        assert_eq!(came("PURGE / HTTP/1.1\r\nhost: h\r\n\r\n"), "PURGE / [] 29");
    }

    #[test]
    fn the_beginning_of_a_head_may_become_one() {
        for part in ["", "G", "GET / HTTP/1.1\r\nhost: h\r\n", "\r\n"] {
            assert_eq!(came(part), "part", "{part:?}");
        }
    }

    #[test]
    fn everything_else_is_not_for_here() {
        let get = |headers: &str| format!("GET / HTTP/1.1\r\nhost: h\r\n{headers}\r\n\r\n");
        let heads = [
            "connection: close",
            "connection: keep-alive, x",
            "connection: upgrade\r\nupgrade: websocket",
            "upgrade: h2c",
            "expect: 100-continue",
            "te: trailers",
            "trailer: x",
            "transfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 0",
            "content-length: 0\r\ncontent-length: 0",
            "content-length: +0",
            "content-length: 0, 0",
            "content-length:",
            "content-length: 1",
            "content-length: 99999999999999999999",
            "host: h",
            "content-type: application/grpc",
            "a b: c",
            "a : c",
            "a: b\r\n c",
            "a: \u{1}",
        ];
        let mut others: Vec<String> = heads.map(get).to_vec();
        others.extend(["GET / HTTP/1.0\r\nhost: h\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"].map(str::to_owned));
        others.extend(
            ["GET http://h/ HTTP/1.1\r\nhost: h\r\n\r\n", "OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n"]
                .map(str::to_owned),
        );
        others.push("CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n".to_owned());
        others.push(get(&"a: b\r\n".repeat(101)));
        for other in others {
            assert_eq!(came(&other), "other", "{other:?}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let bytes = "GET /a?b HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nx-a: 2\r\naccept: */*\r\n\r\n";
        let Came::Plain(plain) = read(bytes.as_bytes(), &Limits::default()) else { panic!("it is plain") };
        let mut out = BytesMut::new();
        let path = plain.head.uri.path_and_query().unwrap();
        write(&mut out, &plain.head.method, path, &plain.head.headers);
        assert_eq!(out, bytes);
    }
}
