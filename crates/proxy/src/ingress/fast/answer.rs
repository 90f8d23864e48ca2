//! Heads of answers, as apps send them and as clients get them. Pure.

use std::fmt::Write;
use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::body::Body;
use super::request::write_headers;
use crate::ingress::door::bad_answer;
use crate::ingress::headers;
use crate::ingress::refusal::Refusal;

/// Headers of an answer.
const HEADERS_MAX: usize = 100;

/// The head of an app's answer.
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without what is between the app and us, and without a length that the body has itself.
    pub headers: HeaderMap,
    /// What follows.
    pub body: Body,
    /// Whether the app takes another request on the same connection.
    pub stays: bool,
    /// How long it is, in bytes.
    pub bytes: usize,
}

/// Reads the head of an answer to a request of this method; `None` while it is not whole.
///
/// # Errors
/// When it is none, or says in two ways where it ends.
pub fn read(bytes: &[u8], method: &Method) -> Result<Option<Head>, Refusal> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, &bytes, &mut headers) {
        Ok(httparse::Status::Complete(length)) => head(&parsed, &bytes, length, method).map(Some),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(bad_answer(&error.to_string())),
    }
}

fn head(
    parsed: &httparse::Response<'_, '_>,
    all: &Bytes,
    bytes: usize,
    method: &Method,
) -> Result<Head, Refusal> {
    let unreadable = || bad_answer("its head cannot be read");
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| unreadable())?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len() + 1);
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| unreadable())?;
        let value = HeaderValue::from_maybe_shared(all.slice_ref(header.value)).map_err(|_| unreadable())?;
        headers.append(name, value);
    }
    let body = body(&headers, method, status)?;
    let stays = parsed.version == Some(1) && stays(&headers, &body);
    headers::answer(&mut headers).map_err(|refusal| bad_answer(&refusal.message))?;
    if !matches!(body, Body::None) || status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    Ok(Head { status, headers, body, stays, bytes })
}

/// What follows a head (RFC 9112, 6.3).
fn body(headers: &HeaderMap, method: &Method, status: StatusCode) -> Result<Body, Refusal> {
    let is_empty =
        status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if *method == Method::HEAD || is_empty {
        return Ok(Body::None);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(length(headers)?.map_or(Body::ToEnd, Body::Length)),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(Body::chunked()),
        _ => Err(bad_answer("it has a transfer encoding other than `chunked`")),
    }
}

fn length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let mut found = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|digits| digits.parse().ok());
        if length.is_none() || found.is_some_and(|found| Some(found) != length) {
            return Err(bad_answer("its length is no number, or two"));
        }
        found = length;
    }
    Ok(found)
}

/// Whether the next answer can be told from this one, and will come. One with two lengths ends its connection.
fn stays(headers: &HeaderMap, body: &Body) -> bool {
    let has_two = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
    !has_two && !matches!(body, Body::ToEnd) && !headers::has_token(headers, &CONNECTION, "close")
}

/// Writes the head of an answer as the client gets it, the last of its connection or not.
pub fn write(out: &mut BytesMut, head: &Head, is_last: bool) {
    let reason = head.status.canonical_reason().unwrap_or_default();
    // A buffer takes what there is memory for.
    let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", head.status.as_str());
    write_headers(out, &head.headers);
    match head.body {
        Body::None => {}
        Body::Length(length) => drop(write!(out, "content-length: {length}\r\n")),
        Body::Chunked(_) | Body::ToEnd => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(if is_last { b"connection: close\r\n\r\n" } else { b"\r\n" });
}

/// An answer of our own, to a request that wants a body or not.
pub fn refused(answer: Response<Bytes>, is_head: bool, is_last: bool) -> BytesMut {
    let (parts, page) = answer.into_parts();
    let body = Body::Length(page.len() as u64);
    let head = Head { status: parts.status, headers: parts.headers, body, stays: true, bytes: 0 };
    let mut out = BytesMut::new();
    write(&mut out, &head, is_last);
    if !is_head {
        out.extend_from_slice(&page);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a head, as it is written for the client, and whether the connection stays.
    fn passed(head: &str, method: Method) -> Result<(String, bool), String> {
        match read(head.as_bytes(), &method) {
            Ok(Some(head)) => {
                let mut out = BytesMut::new();
                write(&mut out, &head, false);
                Ok((String::from_utf8(out.to_vec()).unwrap(), head.stays))
            }
            Ok(None) => Err("part".to_owned()),
            Err(refusal) => Err(refusal.code.into_owned()),
        }
    }

    fn check(head: &str, expect: &str, stays: bool) {
        let head = head.replace('\n', "\r\n");
        assert_eq!(passed(&head, Method::GET), Ok((expect.replace('\n', "\r\n"), stays)), "{head:?}");
    }

    #[test]
    fn a_head_says_once_how_long_the_answer_is() {
        check(
            "HTTP/1.1 200 Fine\nContent-Length: 2\nx: y\n\n",
            "HTTP/1.1 200 OK\nx: y\ncontent-length: 2\n\n",
            true,
        );
        check(
            "HTTP/1.1 200 OK\ncontent-length: 2\ncontent-length: 2\n\n",
            "HTTP/1.1 200 OK\ncontent-length: 2\n\n",
            true,
        );
        let chunked = "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n";
        check("HTTP/1.1 200 OK\nTransfer-Encoding: Chunked\n\n", chunked, true);
        check("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\ncontent-length: 3\n\n", chunked, false);
        check("HTTP/1.1 200 OK\n\n", chunked, false);
        check("HTTP/1.1 204 No\ncontent-length: 2\n\n", "HTTP/1.1 204 No Content\n\n", true);
        check(
            "HTTP/1.1 304 No\ncontent-length: 2\n\n",
            "HTTP/1.1 304 Not Modified\ncontent-length: 2\n\n",
            true,
        );
    }

    #[test]
    fn what_is_between_the_app_and_us_does_not_pass() {
        let head = "HTTP/1.1 200 OK\ncontent-length: 0\nconnection: close, x-hop\nx-hop: 1\nkeep-alive: timeout=1\n\n";
        check(head, "HTTP/1.1 200 OK\ncontent-length: 0\n\n", false);
        check("HTTP/1.0 200 OK\ncontent-length: 0\n\n", "HTTP/1.1 200 OK\ncontent-length: 0\n\n", false);
    }

    #[test]
    fn an_answer_without_a_body_keeps_the_length_it_would_have() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n";
        assert_eq!(passed(head, Method::HEAD), Ok((head.to_owned(), true)));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let malformed = Err("app_malformed".to_owned());
        for head in [
            "hello\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nconnection: (\r\n\r\n",
        ] {
            assert_eq!(passed(head, Method::GET), malformed, "{head:?}");
        }
        for part in ["", "HTTP/1.1", "HTTP/1.1 200 OK\r\nx: y\r\n"] {
            assert_eq!(passed(part, Method::GET), Err("part".to_owned()), "{part:?}");
        }
    }
}
