//! The node itself: who it is, what it holds, what it lost track of.

use axum::Json;
use axum::extract::State;
use wire::node::{Leak, NodeReport};

use super::Door;
use super::respond::Refusal;

pub async fn node(State(door): State<Door>) -> Json<NodeReport> {
    let node = &door.supervisor.node;
    let (capacity, used) = door.supervisor.capacity();
    Json(NodeReport {
        id: door.node_id.clone(),
        engine: node.engine.name().into(),
        engine_version: node.engine.version().into(),
        capacity,
        used,
        leaks: node.leaks(),
        images: node.images.list().into_iter().map(|image| image.digest).collect(),
    })
}

pub async fn leaks(State(door): State<Door>) -> Result<Json<Vec<Leak>>, Refusal> {
    Ok(Json(door.supervisor.leaks().await?))
}
