//! What an S3-compatible store answers (Amazon S3 API Reference, the part that is used).

use std::io;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::fault::Fault;
use super::{BUCKET, Object, PAGE_OBJECTS, REGION, Shared};
use crate::cloud::{Signature, check_signature};
use crate::web::{Asked, Body, answer, with_header};

pub(super) const KEY_ID: &str = "AKIATESTTESTTESTTEST";
/// Bytes of a body that come at once.
const PIECE_BYTES: usize = 64 << 10;
/// Times that a connection has to send what is there before it breaks.
const PAUSES: usize = 50;

pub(super) async fn answer_to(s3: &Shared, asked: Asked) -> Response<Body> {
    let what = asked.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    s3.lock().asked.push((asked.method.to_string(), what.clone()));
    let fault = s3.faults.take(asked.method.as_str(), &what);
    match fault {
        Some(Fault::Status500) => return error(500, "InternalError", "a test asks for it"),
        Some(Fault::SlowDown) => return error(503, "SlowDown", "a test asks for it"),
        Some(Fault::Break) => return broken(answer(200, vec![0; 100]), 0),
        _ => {}
    }
    let answered = checked(s3, &asked).unwrap_or_else(|refusal| {
        s3.lock().refusals.push(format!("{} {what}: {}", asked.method, refusal.1));
        error(403, refusal.0, &refusal.1)
    });
    match fault {
        Some(Fault::BreakWhenDone) => broken(answer(200, vec![0; 100]), 0),
        Some(Fault::BreakAfter(at)) => broken(answered, at),
        Some(Fault::Stall) => stalled(answered).await,
        _ => answered,
    }
}

fn checked(s3: &Shared, asked: &Asked) -> Result<Response<Body>, (&'static str, String)> {
    let secret = s3.lock().secret.clone();
    let hash = asked.header("x-amz-content-sha256").unwrap_or_default().to_owned();
    let signature = Signature {
        key_id: KEY_ID,
        secret: &secret,
        service: "s3",
        region: REGION,
        headers: &["host", "x-amz-content-sha256", "x-amz-date"],
    };
    if hash != crate::cloud::sha256(&asked.body) {
        return Err(("XAmzContentSHA256Mismatch", "the body has another hash".into()));
    }
    check_signature(asked, &signature).map_err(|(_, why)| ("SignatureDoesNotMatch", why))?;
    let path = asked.uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    if bucket != BUCKET || s3.lock().is_gone {
        return Ok(error(404, "NoSuchBucket", "The specified bucket does not exist"));
    }
    Ok(match (asked.method.as_str(), key) {
        ("GET", "") => list(s3, asked),
        ("PUT", key) => put(s3, asked, key),
        ("GET" | "HEAD", key) => get(s3, asked, key),
        ("DELETE", key) => {
            s3.lock().objects.remove(key);
            answer(204, "")
        }
        _ => error(405, "MethodNotAllowed", "not by this"),
    })
}

fn put(s3: &Shared, asked: &Asked, key: &str) -> Response<Body> {
    let mut state = s3.lock();
    if asked.header("if-none-match") == Some("*") && state.objects.contains_key(key) {
        return error(
            412,
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
        );
    }
    let object = Object { bytes: asked.body.clone(), modified: SystemTime::now() };
    state.objects.insert(key.to_owned(), object);
    answer(200, "")
}

fn get(s3: &Shared, asked: &Asked, key: &str) -> Response<Body> {
    let Some(object) = s3.lock().objects.get(key).cloned() else {
        return error(404, "NoSuchKey", "The specified key does not exist.");
    };
    let total = object.bytes.len();
    let range = asked.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let range = range.and_then(|(from, to)| Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?)));
    let Some((from, to)) = range else {
        let body = if asked.method == Method::HEAD { Bytes::new() } else { object.bytes };
        return whole(200, body, total);
    };
    if from >= total || from > to {
        return error(416, "InvalidRange", "The requested range is not satisfiable");
    }
    let to = to.min(total - 1);
    let response = whole(206, object.bytes.slice(from..=to), to - from + 1);
    with_header(response, "content-range", &format!("bytes {from}-{to}/{total}"))
}

fn whole(status: u16, bytes: Bytes, length: usize) -> Response<Body> {
    let starts = (0..bytes.len()).step_by(PIECE_BYTES);
    let piece = move |at: usize| Ok(Frame::data(bytes.slice(at..(at + PIECE_BYTES).min(bytes.len()))));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(stream::iter(starts.map(piece)))));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    with_header(response, "content-length", &length.to_string())
}

/// `ListObjectsV2`.
fn list(s3: &Shared, asked: &Asked) -> Response<Body> {
    let fields = Asked::fields(asked.uri.query().unwrap_or_default().as_bytes());
    let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    if field("list-type") != Some("2") {
        return error(400, "InvalidArgument", "only lists of version 2");
    }
    let prefix = field("prefix").unwrap_or_default();
    let after = field("continuation-token").unwrap_or_default();
    let state = s3.lock();
    let found = state.objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
    let mut found: Vec<_> = found.take(PAGE_OBJECTS + 1).collect();
    let is_truncated = found.len() > PAGE_OBJECTS;
    found.truncate(PAGE_OBJECTS);
    let token = found.last().filter(|_| is_truncated);
    let token = token
        .map_or(String::new(), |(key, _)| format!("<NextContinuationToken>{key}</NextContinuationToken>"));
    let contents: String = found.iter().map(|(key, object)| content(key, object)).collect();
    xml(
        200,
        &format!(
            "<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>{contents}{token}</ListBucketResult>"
        ),
    )
}

fn content(key: &str, object: &Object) -> String {
    let modified = crate::cloud::timestamp(object.modified);
    format!(
        "<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><ETag>&quot;x&quot;</ETag>\
         <Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
        object.bytes.len()
    )
}

fn error(status: u16, code: &str, message: &str) -> Response<Body> {
    xml(
        status,
        &format!("<Error><Code>{code}</Code><Message>{message}</Message><RequestId>1</RequestId></Error>"),
    )
}

fn xml(status: u16, text: &str) -> Response<Body> {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}");
    with_header(answer(status, text), "content-type", "application/xml")
}

/// The same answer, of which so much comes.
fn broken(response: Response<Body>, at: usize) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let mut left = at;
    let sent = body.into_data_stream().map(move |piece| {
        let piece = piece?;
        let piece = piece.slice(..left.min(piece.len()));
        left -= piece.len();
        Ok(Frame::data(piece))
    });
    let end = stream::once(async {
        // A body that pauses is sent as far as it is there.
        for _ in 0..PAUSES {
            tokio::task::yield_now().await;
        }
        Err(io::Error::other("a test asks for it"))
    });
    Response::from_parts(parts, BodyExt::boxed(StreamBody::new(sent.chain(end))))
}

/// The same answer, of which the beginning comes.
async fn stalled(response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let first = stream::iter(body.into_data_stream().next().await);
    let first = first.map(|piece| piece.map(|piece| Frame::data(piece.slice(..piece.len() / 2))));
    let never = stream::once(std::future::pending());
    Response::from_parts(parts, BodyExt::boxed(StreamBody::new(first.chain(never))))
}
