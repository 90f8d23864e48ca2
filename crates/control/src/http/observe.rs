//! Around every request: an id, a log line, two metrics, and an answer even to a panic.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderValue, Method, StatusCode};
use tracing::Instrument;

use crate::entropy;
use crate::error::Error;

/// Names the request in the answer and in every log line about it.
const REQUEST_ID: &str = "x-request-id";

/// Random bytes of such a name.
const REQUEST_ID_BYTES: usize = 8;

/// Observes one request.
pub async fn observe(request: Request, next: Next) -> Response {
    let id = request_id();
    let method = method(request.method());
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = path.map_or_else(|| "unmatched".to_owned(), |path| trim(&path).to_owned());
    let span = tracing::info_span!("request", %id, method, route, key = tracing::field::Empty);
    let begun = Instant::now();
    let mut response = answer(request, next).instrument(span.clone()).await;
    count(method, &route, response.status(), begun, &span);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The time is that until the answer begins; streams go on after it.
fn count(method: &'static str, route: &str, status: StatusCode, begun: Instant, span: &tracing::Span) {
    let seconds = begun.elapsed().as_secs_f64();
    let route = route.to_owned();
    metrics::histogram!("atoll_http_request_seconds", "method" => method, "route" => route.clone())
        .record(seconds);
    let status = status.as_u16();
    metrics::counter!("atoll_http_requests_total", "method" => method, "route" => route, "status" => status.to_string())
        .increment(1);
    span.in_scope(|| tracing::info!(status, seconds, "answered"));
}

async fn answer(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => Error::internal("the server met a fault of its own", "a handler panicked").into_response(),
    }
}

fn request_id() -> String {
    entropy::bytes::<REQUEST_ID_BYTES>()
        .map_or_else(|_| "req-none".into(), |bytes| format!("req-{}", hex::encode(bytes)))
}

/// A closed list: clients can send any word as a method, and each would be a time series.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A path with and without a slash at its end is one route.
fn trim(path: &str) -> &str {
    path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path)
}
