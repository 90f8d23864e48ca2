//! The templates we ship the recipe of.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wire::id::TemplateId;
use wire::node::{BuildEvent, BuiltImage};

use crate::entropy;
use crate::error::{Error, Result};
use crate::finite::{Feeder, FiniteBody, finite_body};
use crate::fleet::Fleet;
use crate::nodes::{Lines, Node, NodeFailure};

/// How long a build may be silent.
const BUILD_SILENCE_MAX: Duration = Duration::from_secs(30 * 60);

/// Has a node build one of the system templates, and passes on how it goes, a JSON line each.
/// The build and its record do not depend on anybody reading that.
pub async fn build_system(fleet: &Arc<Fleet>, name: String, locked: bool) -> Result<FiniteBody> {
    let node = fleet.nodes.any_reachable().await.ok_or(Error::NoNode)?;
    let events = node.client.build(&name, locked).await?;
    let (feeder, body) = finite_body();
    let fleet = fleet.clone();
    tokio::spawn(async move {
        if let Err(error) = relay(&fleet, &node, &name, events, feeder).await {
            tracing::error!(template = name, error = wire::causes::chain(&error), "the build failed");
        }
    });
    Ok(body)
}

async fn relay(
    fleet: &Fleet,
    node: &Node,
    name: &str,
    mut events: Lines<BuildEvent>,
    feeder: Feeder,
) -> Result<()> {
    let mut feeder = Some(feeder);
    loop {
        let event = next(&mut events).await?;
        if let BuildEvent::Done(built) = &event {
            record(fleet, name, built).await?;
            // The node has an image it had not when it last reported.
            node.refresh().await?;
        }
        let last = !matches!(event, BuildEvent::Progress(_));
        feeder = pass_on(feeder, &event).await?;
        if last {
            if let Some(feeder) = feeder {
                let _ = feeder.finish().await;
            }
            return Ok(());
        }
    }
}

async fn next(events: &mut Lines<BuildEvent>) -> Result<BuildEvent> {
    let seconds = BUILD_SILENCE_MAX.as_secs();
    let slow = |_| Error::Slow { what: "the next step of the build", seconds };
    let event = tokio::time::timeout(BUILD_SILENCE_MAX, events.next()).await.map_err(slow)??;
    let cut = || NodeFailure::Malformed("the build's progress ended without its outcome".into());
    Ok(event.ok_or_else(cut)?)
}

/// The feeder back, unless its reader has left.
async fn pass_on(feeder: Option<Feeder>, event: &BuildEvent) -> Result<Option<Feeder>> {
    let Some(feeder) = feeder else { return Ok(None) };
    let mut line = serde_json::to_vec(event).map_err(|error| Error::internal("cannot write JSON", error))?;
    line.push(b'\n');
    Ok(feeder.send(Bytes::from(line)).await.is_ok().then_some(feeder))
}

async fn record(fleet: &Fleet, name: &str, built: &BuiltImage) -> Result<()> {
    let fresh_id = TemplateId::from_entropy(entropy::bytes()?);
    fleet.store.put_system_template(&fresh_id, name, &built.digest, &built.config, fleet.now_ms()).await
}
