//! `/healthz` and `/readyz`: no key, and nothing in the answers that needs one.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use wire::public::operator::Health;

use super::App;

/// How long the store and the nodes have, together, to show that they are there.
const READY_WAIT: Duration = Duration::from_secs(5);

/// The process is alive.
pub async fn alive() -> Json<Health> {
    Json(Health { ok: true, problems: Vec::new() })
}

/// Sandboxes can be made: the store can be written, there is room, and a node answers.
pub async fn ready(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let checks = async {
        let (store, node) = tokio::join!(app.store.check_writable(app.now_ms()), app.nodes.any_reachable());
        let store = store.err().map(|error| {
            tracing::error!(error = wire::causes::chain(&error), "the store cannot be written");
            format!("the store cannot be written: {error}")
        });
        let room = app.check_room().err().map(|error| error.to_string());
        let node = node.is_none().then(|| "no node can be reached".to_owned());
        [store, room, node].into_iter().flatten().collect::<Vec<_>>()
    };
    let late = || vec![format!("the store and the nodes did not answer within {} s", READY_WAIT.as_secs())];
    let problems = tokio::time::timeout(READY_WAIT, checks).await.unwrap_or_else(|_| late());
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Health { ok: problems.is_empty(), problems }))
}
