//! What a registry answers (OCI distribution-spec, the part for pulling).

use std::io;
use std::sync::Arc;
use std::sync::PoisonError;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::Notify;

use super::fault::Fault;
use super::{Shared, digest_of};
use crate::web::{Asked, Body, answer, json, with_header};

/// Times that a connection has to send what is there before it breaks.
const PAUSES: usize = 50;
/// Bytes sent at a time.
const PIECE_BYTES: usize = 16 * 1024;

pub(super) fn answer_to(registry: &Shared, asked: Asked) -> Response<Body> {
    registry.requests.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
    let path = asked.uri.path().to_owned();
    let fault = registry.faults.take(&path);
    match &fault {
        Some(Fault::Status(status)) => return answer(*status, ""),
        Some(Fault::RetryAfter(seconds)) => {
            return with_header(answer(429, ""), "retry-after", &seconds.to_string());
        }
        Some(Fault::Redirect(location)) => return with_header(answer(307, ""), "location", location),
        _ => {}
    }
    if path == "/token" {
        return registry.access.token(&asked);
    }
    if path == "/oauth2/exchange" {
        let exchange = registry.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        return exchange.as_ref().map_or_else(|| answer(404, ""), |exchange| exchange(&asked));
    }
    let Some(rest) = path.strip_prefix("/v2/") else { return answer(404, "") };
    let repository = rest.rsplitn(3, '/').nth(2).unwrap_or_default();
    let own = || format!("{}/token", registry.url.lock().unwrap_or_else(PoisonError::into_inner));
    let realm = registry.realm.clone().unwrap_or_else(own);
    if let Some(refusal) = registry.access.check(&asked, &realm, repository) {
        return refusal;
    }
    match content(registry, rest) {
        None => json(404, &json!({ "errors": [{ "code": "MANIFEST_UNKNOWN" }] })),
        Some((media_type, bytes)) => send(&asked, &media_type, bytes, fault),
    }
}

/// A manifest or a blob.
fn content(registry: &Shared, path: &str) -> Option<(String, Vec<u8>)> {
    if let Some((_, digest)) = path.split_once("/blobs/") {
        let blobs = registry.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = blobs.get(&digest.parse().ok()?)?;
        return Some(("application/octet-stream".into(), bytes.clone()));
    }
    registry.manifests.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
}

fn send(asked: &Asked, media_type: &str, mut bytes: Vec<u8>, fault: Option<Fault>) -> Response<Body> {
    let digest = digest_of(&bytes);
    if let (Some(Fault::WrongByte), Some(last)) = (&fault, bytes.last_mut()) {
        *last ^= 1;
    }
    let range = asked.header("range").filter(|_| !matches!(fault, Some(Fault::NoRange)));
    let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let total = bytes.len();
    let bytes = match from {
        Some(from) if from >= total => return answer(416, ""),
        Some(from) => bytes.split_off(from),
        None => bytes,
    };
    let length = bytes.len().to_string();
    let body = if asked.method == Method::HEAD { vec![] } else { bytes };
    let mut response = Response::new(body_of(body, fault));
    if let Some(from) = from {
        *response.status_mut() = http::StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {from}-{}/{total}", total - 1);
        response = with_header(response, "content-range", &range);
    }
    response = with_header(response, "content-type", media_type);
    response = with_header(response, "content-length", &length);
    with_header(response, "docker-content-digest", digest.as_str())
}

fn body_of(bytes: Vec<u8>, fault: Option<Fault>) -> Body {
    let bytes = Bytes::from(bytes);
    let pieces = |bytes: Bytes| {
        let starts = (0..bytes.len()).step_by(PIECE_BYTES);
        let piece = move |at: usize| Ok(Frame::data(bytes.slice(at..(at + PIECE_BYTES).min(bytes.len()))));
        stream::iter(starts.map(piece))
    };
    match fault {
        Some(Fault::BreakAfter(at)) => {
            let sent = pieces(bytes.slice(..at.min(bytes.len())));
            let end = stream::once(async {
                // A body that pauses is sent as far as it is there.
                for _ in 0..PAUSES {
                    tokio::task::yield_now().await;
                }
                Err(io::Error::other("a test asks for it"))
            });
            BodyExt::boxed(StreamBody::new(sent.chain(end)))
        }
        Some(Fault::HoldAfter(at, release)) => {
            let at = at.min(bytes.len());
            let rest = pieces(bytes.slice(at..));
            let rest = stream::once(released(release)).filter_map(|()| async { None }).chain(rest);
            BodyExt::boxed(StreamBody::new(pieces(bytes.slice(..at)).chain(rest)))
        }
        _ => BodyExt::boxed(StreamBody::new(pieces(bytes))),
    }
}

async fn released(release: Arc<Notify>) {
    release.notified().await;
}
