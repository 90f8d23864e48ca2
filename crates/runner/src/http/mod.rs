//! The node's door for control: `wire::node` over a Unix socket.

mod guest;
mod images;
mod report;
mod respond;
mod sandboxes;
mod snapshots;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};

use crate::supervisor::Supervisor;

/// A JSON body, in bytes, at most: an environment and little else.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The names of what is needed of snapshots, in bytes, at most: some 240,000 of them.
const NAMES_BYTES_MAX: usize = 16 * BODY_BYTES_MAX;

/// What the handlers see.
#[derive(Clone)]
pub struct Door {
    supervisor: Arc<Supervisor>,
    node_id: wire::id::NodeId,
}

/// Every route of a node.
pub fn router(supervisor: Arc<Supervisor>, node_id: wire::id::NodeId) -> Router {
    Router::new()
        .route("/v1/sandboxes", get(sandboxes::list))
        .route("/v1/sandboxes/{id}", put(sandboxes::put).get(sandboxes::get).delete(sandboxes::delete))
        .route("/v1/sandboxes/{id}/deadline", put(sandboxes::put_deadline))
        .route("/v1/sandboxes/{id}/pause", put(sandboxes::pause))
        .route("/v1/sandboxes/{id}/wake", put(sandboxes::wake))
        .route("/v1/sandboxes/{id}/snapshot", post(sandboxes::snapshot))
        .route("/v1/sandboxes/{id}/inspect", get(sandboxes::inspect))
        .route("/v1/changes", get(sandboxes::changes))
        .route("/v1/node", get(report::node))
        .route("/v1/leaks", get(report::leaks))
        .route("/v1/images/system", post(images::build_system))
        .route("/v1/images/prune", post(images::prune))
        .route("/v1/images/pull", post(images::pull))
        .route("/v1/snapshots/{root}", delete(snapshots::remove))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route("/v1/snapshots/prune", post(snapshots::prune).layer(DefaultBodyLimit::max(NAMES_BYTES_MAX)))
        // Guest streams carry files of any size; they are bounded by back-pressure, not by length.
        .route("/v1/sandboxes/{id}/guest", post(guest::stream).layer(DefaultBodyLimit::disable()))
        .with_state(Door { supervisor, node_id })
}
