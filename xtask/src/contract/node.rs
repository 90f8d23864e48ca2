//! `contract/node.json`: examples of every word between control and a node.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};
use wire::id::{ENTROPY_BYTES, NodeId, SandboxId};
use wire::image::{Digest, ImageConfig, RegistryCredentials};
use wire::node::{
    BuildEvent, BuildFailure, BuildProgress, BuildSystemImage, BuiltImage, Capacity, DeleteSandbox,
    GUEST_CONTENT_TYPE, GUEST_STREAM, Inspection, Leak, NodeError, NodeErrorCode, NodeReport, Observed,
    Origin, PauseSandbox, PruneImages, PruneSnapshots, Pruned, PrunedItem, PrunedKind, PullEvent,
    PullFailure, PullFailureCode, PullImage, PullPhase, PullProgress, PutDeadline, PutSandbox, ResolvedImage,
    SandboxSpec, StepTime, TakeSnapshot, TakenSnapshot, WakeSandbox,
};
use wire::sandbox::{Boot, Death, Probe, ReadyCheck, Reason, Resources, State};
use wire::snapshot::Root;

use super::{COMMAND, every_variant, example};

/// The whole file.
pub fn text() -> Result<String> {
    let types = [
        ("PutSandbox", vec![put()?]),
        ("PutDeadline", vec![example(&PutDeadline { generation: 2, ends_in_ms: 300_000 })?]),
        ("PauseSandbox", vec![example(&PauseSandbox { generation: 2 })?]),
        ("WakeSandbox", vec![example(&WakeSandbox { generation: 3, timeout_seconds: 300 })?]),
        ("DeleteSandbox", vec![example(&DeleteSandbox { generation: 3, reason: Reason::Deleted })?]),
        ("Observed", observed()?),
        ("State", states()?),
        ("Reason", reasons()?),
        ("NodeReport", vec![report()?]),
        ("Inspection", vec![inspection()?]),
        ("Leak", leaks()?),
        (
            "BuildSystemImage",
            vec![example(&BuildSystemImage { name: "system/debian:bookworm".into(), locked: true })?],
        ),
        ("BuildEvent", build_events()?),
        ("PullImage", pulls()?),
        ("PullEvent", pull_events()?),
        ("PullPhase", pull_phases()?),
        ("PullFailureCode", pull_failures()?),
        ("PruneImages", vec![prune()?]),
        ("TakeSnapshot", vec![example(&TakeSnapshot { ends: true })?]),
        ("TakenSnapshot", vec![example(&TakenSnapshot { root: root(), bytes: 4096 })?]),
        (
            "PruneSnapshots",
            vec![example(&PruneSnapshots { keep: vec![root()], age_seconds_min: 3600, dry_run: true })?],
        ),
        ("Pruned", vec![pruned()?]),
        ("PrunedKind", pruned_kinds()?),
        ("NodeError", errors()?),
    ];
    let entries = types.map(|(name, examples)| entry(name, &examples));
    Ok(format!(
        "{{\n  \"written_by\": {},\n  \"guest_content_type\": {},\n  \"guest_stream\": {GUEST_STREAM},\n  \
         \"status_of_error_code\": {{\n{}\n  }},\n  \"examples\": {{\n{}\n  }}\n}}\n",
        json!(COMMAND),
        json!(GUEST_CONTENT_TYPE),
        statuses()?,
        entries.join(",\n"),
    ))
}

/// One type, an example a line: a changed field is a changed line.
fn entry(name: &str, examples: &[String]) -> String {
    let lines: Vec<String> = examples.iter().map(|example| format!("      {example}")).collect();
    format!("    \"{name}\": [\n{}\n    ]", lines.join(",\n"))
}

fn sandbox() -> SandboxId {
    SandboxId::from_entropy([7; ENTROPY_BYTES])
}

fn root() -> Root {
    Root::new([7; 32])
}

fn digest() -> Digest {
    Digest::from_sha256([7; 32])
}

fn env() -> BTreeMap<String, String> {
    BTreeMap::from([("LANG".into(), "C.UTF-8".into())])
}

fn config() -> ImageConfig {
    ImageConfig {
        entrypoint: Some(vec!["/init".into()]),
        cmd: Some(vec!["--quiet".into()]),
        working_dir: "/workspace".into(),
        user: "user".into(),
        env: Some(env()),
        stop_signal: None,
    }
}

fn put() -> Result<String> {
    let spec = SandboxSpec {
        image: digest(),
        resources: Resources { vcpu: 1, memory_mib: 1024, disk_mib: 10_240, processes_max: 4096 },
        timeout_seconds: 300,
        env: env(),
        workdir: "/workspace".into(),
        user: "user".into(),
        boot: Some(Boot {
            argv: vec!["serve".into()],
            ready: Some(ReadyCheck { probe: Probe::Port(8080), timeout_seconds: 60 }),
            stop_signal: Some("SIGTERM".into()),
        }),
        auto_pause: true,
        from: Some(Origin { snapshot: root(), is_fork: true }),
    };
    example(&PutSandbox { generation: 1, spec })
}

fn observed() -> Result<Vec<String>> {
    let starting = Observed {
        id: sandbox(),
        generation: 1,
        state: State::Starting,
        death: None,
        timeout_at_ms: None,
        is_wanted: false,
        leaves: None,
        steps: vec![],
    };
    let steps = vec![StepTime { step: "network".into(), micros: 1500 }];
    let running =
        Observed { state: State::Running, timeout_at_ms: Some(1_767_225_600_000), steps, ..starting.clone() };
    let death = Some(Death { reason: Reason::EngineLost, evidence: "signal 9".into() });
    let deleted = Observed { state: State::Deleted, death, leaves: Some(root()), ..starting.clone() };
    Ok(vec![example(&starting)?, example(&running)?, example(&deleted)?])
}

fn states() -> Result<Vec<String>> {
    Ok(every_variant!(State {
        State::Starting => State::Starting,
        State::Running => State::Running,
        State::Snapshotting => State::Snapshotting,
        State::Paused => State::Paused,
        State::Unpausing => State::Unpausing,
        State::Deleting => State::Deleting,
        State::Deleted => State::Deleted,
    }))
}

fn reasons() -> Result<Vec<String>> {
    Ok(every_variant!(Reason {
        Reason::Deleted => Reason::Deleted,
        Reason::Timeout => Reason::Timeout,
        Reason::OutOfMemory => Reason::OutOfMemory,
        Reason::DiskFull => Reason::DiskFull,
        Reason::EngineLost => Reason::EngineLost,
        Reason::AgentLost => Reason::AgentLost,
        Reason::CreateFailed => Reason::CreateFailed,
        Reason::HostRestarted => Reason::HostRestarted,
        Reason::CheckpointFailed => Reason::CheckpointFailed,
    }))
}

fn report() -> Result<String> {
    example(&NodeReport {
        id: NodeId::from_entropy([7; ENTROPY_BYTES]),
        engine: "gvisor".into(),
        engine_version: "release-1".into(),
        capacity: Capacity { sandboxes: 100, vcpu: 16, memory_mib: 65_536 },
        used: Capacity { sandboxes: 1, vcpu: 1, memory_mib: 1024 },
        leaks: [("netns".to_owned(), 1)].into(),
        images: vec![digest()],
    })
}

fn inspection() -> Result<String> {
    example(&Inspection { node: json!({ "state": "running" }), engine: Value::Null, guest: Value::Null })
}

fn leaks() -> Result<Vec<String>> {
    let owned = Leak { kind: "netns".into(), name: "atoll-1".into(), owner: Some(sandbox()) };
    let unknown = Leak { owner: None, ..owned.clone() };
    Ok(vec![example(&owned)?, example(&unknown)?])
}

fn build_events() -> Result<Vec<String>> {
    let built = BuiltImage { digest: digest(), size_bytes: 4096, config: config(), built_now: true };
    Ok(every_variant!(BuildEvent {
        BuildEvent::Progress(_) => BuildEvent::Progress(BuildProgress { message: "extracting archives...".into() }),
        BuildEvent::Done(_) => BuildEvent::Done(built),
        BuildEvent::Failed(_) => BuildEvent::Failed(BuildFailure { message: "no mirror".into() }),
    }))
}

fn pulls() -> Result<Vec<String>> {
    let credentials =
        RegistryCredentials::Basic { username: "me".into(), password: "a password, in the clear".into() };
    let source = "registry.example.com/me/it:v1".to_owned();
    let plain = PullImage { source: source.clone(), credentials: None, resolve_only: false };
    let private = PullImage { credentials: Some(credentials), ..plain.clone() };
    let look = PullImage { resolve_only: true, ..plain.clone() };
    Ok(vec![example(&plain)?, example(&private)?, example(&look)?])
}

fn pull_events() -> Result<Vec<String>> {
    let resolved = ResolvedImage { digest: digest(), config: config(), layers: 3, layer_bytes: 65_536 };
    let progress = PullProgress { phase: PullPhase::Fetching, bytes_done: 4096, bytes_total: 65_536 };
    let built = BuiltImage { digest: digest(), size_bytes: 4096, config: config(), built_now: true };
    let failure = PullFailure { code: PullFailureCode::NotFound, message: "no such tag".into() };
    Ok(every_variant!(PullEvent {
        PullEvent::Resolved(_) => PullEvent::Resolved(resolved),
        PullEvent::Progress(_) => PullEvent::Progress(progress),
        PullEvent::Done(_) => PullEvent::Done(built),
        PullEvent::Failed(_) => PullEvent::Failed(failure),
    }))
}

fn pull_phases() -> Result<Vec<String>> {
    Ok(every_variant!(PullPhase {
        PullPhase::Fetching => PullPhase::Fetching,
        PullPhase::Packing => PullPhase::Packing,
    }))
}

fn pull_failures() -> Result<Vec<String>> {
    Ok(every_variant!(PullFailureCode {
        PullFailureCode::Refused => PullFailureCode::Refused,
        PullFailureCode::NotFound => PullFailureCode::NotFound,
        PullFailureCode::Unauthorized => PullFailureCode::Unauthorized,
        PullFailureCode::Unreachable => PullFailureCode::Unreachable,
        PullFailureCode::InvalidImage => PullFailureCode::InvalidImage,
        PullFailureCode::DiskFull => PullFailureCode::DiskFull,
        PullFailureCode::Internal => PullFailureCode::Internal,
    }))
}

fn prune() -> Result<String> {
    example(&PruneImages { keep: vec![digest()], idle_seconds_min: 3600, dry_run: true })
}

fn pruned() -> Result<String> {
    let item = PrunedItem {
        kind: PrunedKind::Image,
        name: digest().to_string(),
        bytes: 4096,
        reason: "no template, sandbox or pull needs it".into(),
    };
    example(&Pruned { items: vec![item], bytes: 4096 })
}

fn pruned_kinds() -> Result<Vec<String>> {
    Ok(every_variant!(PrunedKind {
        PrunedKind::Image => PrunedKind::Image,
        PrunedKind::Layer => PrunedKind::Layer,
        PrunedKind::PartialLayer => PrunedKind::PartialLayer,
        PrunedKind::Snapshot => PrunedKind::Snapshot,
        PrunedKind::Chunks => PrunedKind::Chunks,
        PrunedKind::Draft => PrunedKind::Draft,
    }))
}

fn errors() -> Result<Vec<String>> {
    Ok(vec![example(&NodeError { code: NodeErrorCode::NoCapacity, message: "the node is full".into() })?])
}

fn error_codes() -> Result<Vec<String>> {
    Ok(every_variant!(NodeErrorCode {
        NodeErrorCode::NotFound => NodeErrorCode::NotFound,
        NodeErrorCode::WrongState => NodeErrorCode::WrongState,
        NodeErrorCode::Asleep => NodeErrorCode::Asleep,
        NodeErrorCode::Stale => NodeErrorCode::Stale,
        NodeErrorCode::NoCapacity => NodeErrorCode::NoCapacity,
        NodeErrorCode::StorageFull => NodeErrorCode::StorageFull,
        NodeErrorCode::Invalid => NodeErrorCode::Invalid,
        NodeErrorCode::Unusable => NodeErrorCode::Unusable,
        NodeErrorCode::EngineFailed => NodeErrorCode::EngineFailed,
        NodeErrorCode::GuestUnreachable => NodeErrorCode::GuestUnreachable,
        NodeErrorCode::Timeout => NodeErrorCode::Timeout,
        NodeErrorCode::Internal => NodeErrorCode::Internal,
    }))
}

/// The status each kind of error travels with, a line each.
fn statuses() -> Result<String> {
    let mut lines = Vec::new();
    for name in error_codes()? {
        let code: NodeErrorCode = serde_json::from_str(&name)?;
        lines.push(format!("    {name}: {}", code.status()));
    }
    Ok(lines.join(",\n"))
}
