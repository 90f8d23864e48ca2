//! Building the images we ship the recipe of, pulling those of others, and removing those nobody needs.

use artifact::system::Packages;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use wire::node::{
    BuildEvent, BuildFailure, BuildProgress, BuildSystemImage, NodeError, NodeErrorCode, PruneImages, Pruned,
    PullEvent, PullImage,
};

use super::Door;
use super::respond::Refusal;
use super::sandboxes::line;

/// Lines of progress that wait for a slow listener; more are not told.
const PROGRESS_LINES_MAX: usize = 1024;

/// Builds an image, or finds it built, and tells how it goes. The build goes on if the listener leaves.
pub async fn build_system(State(door): State<Door>, Json(order): Json<BuildSystemImage>) -> Response {
    let (events, receiver) = mpsc::channel(PROGRESS_LINES_MAX);
    tokio::spawn(async move {
        let outcome = build(&door, &order, &events).await;
        drop(events.send(outcome).await);
    });
    lines(receiver)
}

/// Pulls an image, or finds it pulled, and tells how it goes. The pull goes on if the listener leaves.
pub async fn pull(State(door): State<Door>, Json(order): Json<PullImage>) -> Response {
    let (events, receiver) = mpsc::channel(PROGRESS_LINES_MAX);
    tokio::spawn(async move {
        let puller = &door.supervisor.node.puller;
        let tell = |event: PullEvent| drop(events.try_send(event));
        let outcome = if order.resolve_only {
            puller.resolve(&order).await.map(PullEvent::Resolved)
        } else {
            puller.pull(&order, tell).await.map(PullEvent::Done)
        };
        drop(events.send(outcome.unwrap_or_else(PullEvent::Failed)).await);
    });
    lines(receiver)
}

/// Each event on a line, as it happens.
fn lines<T: serde::Serialize + Send + 'static>(receiver: mpsc::Receiver<T>) -> Response {
    let events = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    Response::new(Body::from_stream(events.map(|event| line(&event))))
}

async fn build(door: &Door, order: &BuildSystemImage, events: &mpsc::Sender<BuildEvent>) -> BuildEvent {
    // A listener that left, or reads too slowly, misses lines; the build does not care.
    let progress = |message: String| drop(events.try_send(BuildEvent::Progress(BuildProgress { message })));
    let packages = if order.locked { Packages::Locked } else { Packages::Preferred };
    match artifact::system::build(&door.supervisor.node.images, &order.name, packages, progress).await {
        Ok(built) => BuildEvent::Done(built),
        Err(error) => BuildEvent::Failed(BuildFailure { message: wire::causes::chain(&error) }),
    }
}

/// Removes images nobody needs, or says which those are.
pub async fn prune(
    State(door): State<Door>,
    Json(order): Json<PruneImages>,
) -> Result<Json<Pruned>, Refusal> {
    let pruning = tokio::task::spawn_blocking(move || door.supervisor.prune(&order));
    let failed = |error: &dyn std::error::Error| {
        Refusal(NodeError::new(NodeErrorCode::Internal, wire::causes::chain(error)))
    };
    match pruning.await {
        Ok(Ok(pruned)) => Ok(Json(pruned)),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}
