//! Sandboxes.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use wire::guest::{Done, Request};
use wire::id::SandboxId;
use wire::node::{
    DeleteSandbox, Inspection, NodeError, NodeErrorCode, Observed, PauseSandbox, PutDeadline, PutSandbox,
    TakeSnapshot, TakenSnapshot, WakeSandbox,
};
use wire::sandbox::State as Life;

use super::Door;
use super::respond::Refusal;

/// How long an inspection waits for the agent.
const INSPECT_GUEST_BOUND: Duration = Duration::from_secs(2);

pub async fn list(State(door): State<Door>) -> Json<Vec<Observed>> {
    Json(door.supervisor.all_observed())
}

pub async fn get(State(door): State<Door>, Path(id): Path<SandboxId>) -> Result<Json<Observed>, Refusal> {
    door.supervisor.observed(&id).map(Json).ok_or_else(|| not_found(&id))
}

pub async fn put(
    State(door): State<Door>,
    Path(id): Path<SandboxId>,
    Json(put): Json<PutSandbox>,
) -> Result<Json<Observed>, Refusal> {
    to_the_end(async move { door.supervisor.put(id, put).await }).await
}

/// Carries out an order on a task of its own: a caller that hangs up must not leave a wish half heard.
pub(super) async fn to_the_end<T: Send + 'static>(
    order: impl Future<Output = Result<T, NodeError>> + Send + 'static,
) -> Result<Json<T>, Refusal> {
    let done = tokio::spawn(order).await;
    Ok(Json(done.map_err(|error| NodeError::new(NodeErrorCode::Internal, error.to_string()))??))
}

pub async fn put_deadline(
    State(door): State<Door>,
    Path(id): Path<SandboxId>,
    Json(put): Json<PutDeadline>,
) -> Result<Json<Observed>, Refusal> {
    to_the_end(async move { door.supervisor.put_deadline(&id, put).await }).await
}

pub async fn pause(
    State(door): State<Door>,
    Path(id): Path<SandboxId>,
    Json(pause): Json<PauseSandbox>,
) -> Result<Json<Observed>, Refusal> {
    to_the_end(async move { door.supervisor.pause(&id, pause).await }).await
}

pub async fn wake(
    State(door): State<Door>,
    Path(id): Path<SandboxId>,
    Json(wake): Json<WakeSandbox>,
) -> Result<Json<Observed>, Refusal> {
    to_the_end(async move { door.supervisor.wake(&id, wake).await }).await
}

pub async fn snapshot(
    State(door): State<Door>,
    Path(id): Path<SandboxId>,
    Json(order): Json<TakeSnapshot>,
) -> Result<Json<TakenSnapshot>, Refusal> {
    to_the_end(async move { door.supervisor.snapshot(&id, order).await }).await
}

pub async fn delete(
    State(door): State<Door>,
    Path(id): Path<SandboxId>,
    Json(delete): Json<DeleteSandbox>,
) -> Result<Json<Observed>, Refusal> {
    to_the_end(async move { Ok(door.supervisor.delete(&id, delete).await) }).await
}

pub async fn inspect(
    State(door): State<Door>,
    Path(id): Path<SandboxId>,
) -> Result<Json<Inspection>, Refusal> {
    let observed = door.supervisor.observed(&id).ok_or_else(|| not_found(&id))?;
    let phase = door.supervisor.record(&id).map(|record| record.boot_id.clone());
    Ok(Json(Inspection {
        node: serde_json::json!({ "observed": observed, "boot_id": phase }),
        engine: door.supervisor.node.engine.inspect(&id).await,
        guest: guest_view(&door, &id).await,
    }))
}

async fn guest_view(door: &Door, id: &SandboxId) -> serde_json::Value {
    // Whoever looks does not wake it.
    if door.supervisor.observed(id).is_some_and(|observed| observed.state == Life::Paused) {
        return serde_json::json!({ "unreachable": "the sandbox is paused" });
    }
    let ask = async {
        let (connection, _talking) = door.supervisor.guest(id).await.map_err(|error| error.message)?;
        match connection.ask(&Request::Status).await {
            Ok(Done::Status(status)) => serde_json::to_value(status).map_err(|error| error.to_string()),
            Ok(other) => Err(format!("the agent answered {other:?}")),
            Err(error) => Err(wire::causes::chain(&error)),
        }
    };
    let answer = tokio::time::timeout(INSPECT_GUEST_BOUND, ask).await;
    let answer = answer.unwrap_or_else(|_| Err("no answer in time".into()));
    answer.unwrap_or_else(|message| serde_json::json!({ "unreachable": message }))
}

/// What every sandbox is, then what each becomes. A listener that lags too far behind is cut off and asks again.
pub async fn changes(State(door): State<Door>) -> Response {
    let changes = door.supervisor.node.changes();
    let now = stream::iter(door.supervisor.all_observed());
    let later = stream::unfold(changes, next_change);
    let lines = now.chain(later).map(|observed| line(&observed));
    let mut response = Response::new(Body::from_stream(lines));
    let ndjson = axum::http::HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(axum::http::header::CONTENT_TYPE, ndjson);
    response
}

async fn next_change(mut changes: Receiver<Observed>) -> Option<(Observed, Receiver<Observed>)> {
    match changes.recv().await {
        Ok(observed) => Some((observed, changes)),
        Err(RecvError::Lagged(_) | RecvError::Closed) => None,
    }
}

/// One JSON line.
pub fn line<T: serde::Serialize>(value: &T) -> Result<Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line.into())
}

fn not_found(id: &SandboxId) -> Refusal {
    NodeError::new(NodeErrorCode::NotFound, format!("this node has no sandbox {id}")).into()
}
