//! Building the images we ship the recipe of.

use artifact::system::Packages;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use wire::node::{BuildEvent, BuildFailure, BuildProgress, BuildSystemImage};

use super::Door;
use super::sandboxes::line;

/// Lines of progress that wait for a slow listener before the build waits too.
const PROGRESS_LINES_MAX: usize = 1024;

/// Builds an image, or finds it built, and tells how it goes. The build goes on if the listener leaves.
pub async fn build_system(State(door): State<Door>, Json(order): Json<BuildSystemImage>) -> Response {
    let (events, receiver) = mpsc::channel(PROGRESS_LINES_MAX);
    tokio::spawn(async move {
        let outcome = build(&door, &order, &events).await;
        drop(events.send(outcome).await);
    });
    let lines = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    Response::new(Body::from_stream(lines.map(|event| line(&event))))
}

async fn build(door: &Door, order: &BuildSystemImage, events: &mpsc::Sender<BuildEvent>) -> BuildEvent {
    // A listener that left, or reads too slowly, misses lines; the build does not care.
    let progress = |message: String| drop(events.try_send(BuildEvent::Progress(BuildProgress { message })));
    let packages = if order.locked { Packages::Locked } else { Packages::Preferred };
    match artifact::system::build(&door.supervisor.node.images, &order.name, packages, progress).await {
        Ok(built) => BuildEvent::Done(built),
        Err(error) => BuildEvent::Failed(BuildFailure { message: crate::sandbox::chain(&error) }),
    }
}
