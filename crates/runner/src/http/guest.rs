//! One guest stream, relayed between control and an agent.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::StreamExt;
use wire::id::SandboxId;
use wire::node::GUEST_CONTENT_TYPE;

use super::Door;
use super::respond::Refusal;
use crate::guest::relay::relay;

/// Relays frames both ways at once, as soon as the sandbox runs.
pub async fn stream(
    State(door): State<Door>,
    Path(id): Path<SandboxId>,
    body: Body,
) -> Result<Response, Refusal> {
    let (connection, talking) = door.supervisor.guest(&id).await?;
    let answer = relay(body.into_data_stream(), connection).inspect(move |_| {
        let _until_the_answer_ends = &talking;
    });
    let mut response = Response::new(Body::from_stream(answer));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(GUEST_CONTENT_TYPE));
    Ok(response)
}
