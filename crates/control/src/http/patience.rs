//! Answers that take long: `200` or `201` and spaces, which JSON allows in front.
//!
//! If what is waited for then fails, the body is cut off: it cannot be taken for a whole answer.

use std::pin::Pin;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use serde::Serialize;

use crate::error::{Error, Result};

type Work<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// Answers with what the work comes to; with its own status if it fails before the client has to be kept alive.
pub async fn patiently<T: Serialize + Send + 'static>(
    status: StatusCode,
    keep_alive: Duration,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<Response> {
    let mut work: Work<T> = Box::pin(work);
    match tokio::time::timeout(keep_alive, &mut work).await {
        Ok(done) => Ok((status, Json(done?)).into_response()),
        Err(_) => Ok(spaced(status, keep_alive, work)),
    }
}

/// Spaces until the work is done.
fn spaced<T: Serialize + Send + 'static>(
    status: StatusCode,
    keep_alive: Duration,
    work: Work<T>,
) -> Response {
    let start = (Some(work), Some(Bytes::from_static(b" ")));
    let body = stream::try_unfold(start, move |(work, at_once)| async move {
        let Some(mut work) = work else { return Ok(None) };
        if let Some(space) = at_once {
            return Ok(Some((space, (Some(work), None))));
        }
        match tokio::time::timeout(keep_alive, &mut work).await {
            Err(_) => Ok(Some((Bytes::from_static(b" "), (Some(work), None)))),
            Ok(Ok(done)) => Ok(Some((json(&done)?.into(), (None, None)))),
            Ok(Err(error)) => {
                tracing::warn!(error = wire::causes::chain(&error), "an answer that had begun is cut off");
                Err(error)
            }
        }
    });
    (status, [(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response()
}

/// A value as JSON text.
pub fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal("cannot write JSON", error))
}
