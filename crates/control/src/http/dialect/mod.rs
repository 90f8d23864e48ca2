//! Other APIs, for clients that were written for them. Each translates to the functions our own API calls, and keeps
//! nothing of its own: an object that is made in one of them is there in all.

pub mod sandbox0;

use axum::response::{IntoResponse, Response};
use http::Uri;

use crate::error::Error;

/// For paths that are not there.
pub async fn no_such_route(uri: Uri) -> Response {
    told_at(&uri, Error::NoSuchRoute)
}

/// For methods that a path does not have.
pub async fn method_not_allowed(uri: Uri) -> Response {
    told_at(&uri, Error::MethodNotAllowed)
}

/// An error as the clients of this path read it.
fn told_at(uri: &Uri, error: Error) -> Response {
    if uri.path().starts_with(sandbox0::PREFIX) {
        return sandbox0::Refusal::from(error).into_response();
    }
    error.into_response()
}
