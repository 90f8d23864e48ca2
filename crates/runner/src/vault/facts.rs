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
    let here = Host {
        engine: node.engine.name(),
        engine_version: node.engine.version(),
        engine_flags: node.engine.checkpoint_flags(),
        cpu_features: &node.cpu_features,
    };
    obstacle(facts, &here, image).map_or(Ok(()), |why| Err(unusable(&why)))
}

/// What has to be as it was.
struct Host<'a> {
    engine: &'a str,
    engine_version: &'a str,
    engine_flags: Vec<String>,
    cpu_features: &'a [String],
}

fn obstacle(facts: &Facts, here: &Host<'_>, image: &Digest) -> Option<String> {
    let Facts { engine, engine_version: version, agent_generation: spoken, .. } = facts;
    let has: BTreeSet<&String> = here.cpu_features.iter().collect();
    let lacking: Vec<&str> =
        facts.cpu_features.iter().filter(|feature| !has.contains(feature)).map(String::as_str).collect();
    if engine != here.engine || version != here.engine_version {
        let (name, other) = (here.engine, here.engine_version);
        let why = format!("it was taken with {engine} {version}, and here is {name} {other}");
        return Some(format!("{why}: only the same can go on"));
    }
    if facts.engine_flags != here.engine_flags {
        return Some("its engine ran with other flags than the engine here does".into());
    }
    if !lacking.is_empty() {
        return Some(format!("this host's CPU lacks what it may count on: {}", lacking.join(", ")));
    }
    if facts.image != *image {
        return Some(format!("it is of the image {}, and not of {image}", facts.image));
    }
    (!(OLDEST_GENERATION..=GENERATION).contains(spoken)).then(|| {
        format!(
            "its agent speaks generation {spoken}, and here {OLDEST_GENERATION} to {GENERATION} are spoken"
        )
    })
}

fn unusable(why: &str) -> NodeError {
    NodeError::new(NodeErrorCode::Unusable, format!("nothing here can go on from the snapshot: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::sandbox::Resources;

    #[test]
    fn what_cannot_go_on_here_is_refused_with_what_is_in_the_way() {
        let image = Digest::from_sha256([1; 32]);
        let facts = Facts {
            engine: "gvisor".into(),
            engine_version: "1".into(),
            engine_flags: vec!["a=b".into()],
            cpu_features: vec!["avx".into(), "sse".into()],
            image: image.clone(),
            resources: Resources { vcpu: 1, memory_mib: 512, disk_mib: 1024, processes_max: 10 },
            agent_generation: GENERATION,
            created_at_ms: 1,
            sandbox: "sbx".into(),
            more: Default::default(),
        };
        let features = ["avx", "avx2", "sse"].map(str::to_owned);
        let look = |facts: &Facts, features: &[String], version: &str, flags: &[&str]| {
            let engine_flags = flags.iter().map(|flag| flag.to_string()).collect();
            let host =
                Host { engine: "gvisor", engine_version: version, engine_flags, cpu_features: features };
            obstacle(facts, &host, &image).unwrap_or_default()
        };
        assert_eq!(look(&facts, &features, "1", &["a=b"]), "");
        assert!(look(&facts, &features, "2", &["a=b"]).contains("gvisor 1, and here is gvisor 2"));
        assert!(look(&facts, &features, "1", &[]).contains("other flags"));
        assert!(look(&facts, &features[1..], "1", &["a=b"]).contains("lacks what it may count on: avx"));
        let other = Facts { image: Digest::from_sha256([2; 32]), ..facts.clone() };
        assert!(look(&other, &features, "1", &["a=b"]).contains("it is of the image"));
        let newer = Facts { agent_generation: GENERATION + 1, ..facts.clone() };
        assert!(look(&newer, &features, "1", &["a=b"]).contains("its agent speaks generation"));
    }
}
