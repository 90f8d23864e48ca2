//! What a snapshot knows of its sandbox, and whether anything here can go on from it.

use std::collections::BTreeSet;

use artifact::snapshot::Facts;
use wire::guest::{GENERATION, OLDEST_GENERATION};
use wire::image::Digest;
use wire::node::{NodeError, NodeErrorCode};

use crate::node::Node;
use crate::sandbox::record::Record;

/// The fact that opens its agent. It is sealed with the rest.
const TOKEN: &str = "agent_token";

/// What is known of a sandbox that stands still.
pub(crate) fn about(node: &Node, record: &Record) -> Facts {
    Facts {
        engine: node.engine.name().into(),
        engine_version: node.engine.version().into(),
        engine_flags: node.engine.checkpoint_flags(),
        cpu_features: node.cpu_features.clone(),
        image: record.spec.image.clone(),
        resources: record.spec.resources,
        agent_generation: GENERATION,
        created_at_ms: node.clock.wall_ms(),
        sandbox: record.id.to_string(),
        more: [(TOKEN.to_owned(), record.token.clone().into())].into(),
    }
}

/// What opens its agent.
pub(crate) fn token(facts: &Facts) -> Result<String, NodeError> {
    let token = facts.more.get(TOKEN).and_then(|token| token.as_str());
    token.map(str::to_owned).ok_or_else(|| unusable("it does not say what opens its agent"))
}

/// Whether a sandbox of this image can go on here from a snapshot with these facts.
///
/// # Errors
/// [`NodeErrorCode::Unusable`], with the first thing that is in the way.
pub(crate) fn check(facts: &Facts, node: &Node, image: &Digest) -> Result<(), NodeError> {
    let (engine, version) = (node.engine.name(), node.engine.version());
    if facts.engine != engine || facts.engine_version != version {
        let (wrote, by) = (&facts.engine, &facts.engine_version);
        let why = format!(
            "it was taken with {wrote} {by}, and here is {engine} {version}: only the same can go on"
        );
        return Err(unusable(&why));
    }
    if facts.engine_flags != node.engine.checkpoint_flags() {
        return Err(unusable("its engine ran with other flags than the engine here does"));
    }
    let has: BTreeSet<&str> = node.cpu_features.iter().map(String::as_str).collect();
    let lacking: Vec<&str> =
        facts.cpu_features.iter().map(String::as_str).filter(|feature| !has.contains(feature)).collect();
    if !lacking.is_empty() {
        return Err(unusable(&format!("this host's CPU lacks what it may count on: {}", lacking.join(", "))));
    }
    if facts.image != *image {
        return Err(unusable(&format!("it is of the image {}, and not of {image}", facts.image)));
    }
    if !(OLDEST_GENERATION..=GENERATION).contains(&facts.agent_generation) {
        let spoken = facts.agent_generation;
        let why = format!(
            "its agent speaks generation {spoken}, and here {OLDEST_GENERATION} to {GENERATION} are spoken"
        );
        return Err(unusable(&why));
    }
    Ok(())
}

fn unusable(why: &str) -> NodeError {
    NodeError::new(NodeErrorCode::Unusable, format!("nothing here can go on from the snapshot: {why}"))
}
