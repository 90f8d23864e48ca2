//! Other APIs, for clients that were written for them. Each translates to the functions our own API calls, and keeps
//! nothing of its own: an object that is made in one of them is there in all.

pub mod sandbox0;

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::Uri;

use crate::error::Error;

/// Bytes of a body that are read although nobody wants them.
const UNWANTED_BYTES_MAX: usize = 64 * 1024;
/// Time for it to come.
const UNWANTED_BOUND: Duration = Duration::from_secs(1);

/// For paths that are not there.
pub async fn no_such_route(request: Request) -> Response {
    told_at(&heard_out(request).await, Error::NoSuchRoute)
}

/// For methods that a path does not have.
pub async fn method_not_allowed(request: Request) -> Response {
    told_at(&heard_out(request).await, Error::MethodNotAllowed)
}

/// Reads a short body that nobody wants, and says where it was sent. On what is left unread the connection would be
/// closed, under the client's next request.
async fn heard_out(request: Request) -> Uri {
    let (parts, body) = request.into_parts();
    let _ = tokio::time::timeout(UNWANTED_BOUND, to_bytes(body, UNWANTED_BYTES_MAX)).await;
    parts.uri
}

/// An error as the clients of this path read it.
fn told_at(uri: &Uri, error: Error) -> Response {
    if uri.path().starts_with(sandbox0::PREFIX) {
        return sandbox0::Refusal::from(error).into_response();
    }
    error.into_response()
}
