//! Snapshots.

use axum::Json;
use axum::extract::{Path, State};
use wire::node::{PruneSnapshots, Pruned};
use wire::snapshot::Root;

use super::Door;
use super::respond::Refusal;
use super::sandboxes::to_the_end;

pub async fn remove(State(door): State<Door>, Path(root): Path<Root>) -> Result<Json<()>, Refusal> {
    to_the_end(async move { door.supervisor.remove_snapshot(root).await }).await
}

pub async fn prune(
    State(door): State<Door>,
    Json(order): Json<PruneSnapshots>,
) -> Result<Json<Pruned>, Refusal> {
    to_the_end(async move { door.supervisor.prune_snapshots(order).await }).await
}
