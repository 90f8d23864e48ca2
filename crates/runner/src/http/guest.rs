//! One guest stream, relayed between control and an agent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::StreamExt;
use wire::id::SandboxId;
use wire::node::GUEST_CONTENT_TYPE;
use wire::sandbox::State as Stands;

use super::Door;
use super::respond::Refusal;
use crate::guest::Connection;
use crate::guest::relay::relay;
use crate::sandbox::talk::Talking;

/// A request that was parted from waits so long for its sandbox to run again. It does not wake it: whoever has paused it
/// wants that.
const BACK_BOUND: Duration = Duration::from_secs(600);

/// Relays frames both ways at once, as soon as the sandbox runs.
pub async fn stream(
    State(door): State<Door>,
    Path(id): Path<SandboxId>,
    body: Body,
) -> Result<Response, Refusal> {
    let (connection, talking) = door.supervisor.guest(&id).await?;
    let talking = Arc::new(Mutex::new(talking));
    let until_the_answer_ends = talking.clone();
    let way_back = move || back(door.clone(), id.clone(), talking.clone());
    let answer = relay(body.into_data_stream(), connection, way_back).inspect(move |_| {
        let _held = &until_the_answer_ends;
    });
    let mut response = Response::new(Body::from_stream(answer));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(GUEST_CONTENT_TYPE));
    Ok(response)
}

/// The next connection to a sandbox, unless it ends, or is not back in time.
async fn back(door: Door, id: SandboxId, talking: Arc<Mutex<Talking>>) -> Option<Connection> {
    let handle = door.supervisor.find(&id).await?;
    let ends = handle.wait(|observed| matches!(observed.state, Stands::Deleting | Stands::Deleted));
    let connection = async {
        tokio::select! {
            connection = handle.guest() => connection,
            _ = ends => None,
        }
    };
    let connection = tokio::time::timeout(BACK_BOUND, connection).await.ok().flatten()?;
    let wake = || door.supervisor.node.engine.wake(&id);
    // A task that broke off meanwhile counts anew who talks.
    *talking.lock().unwrap_or_else(PoisonError::into_inner) = handle.talk.begin(wake);
    Some(connection)
}
