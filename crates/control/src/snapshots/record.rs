//! What the store says of one snapshot.

use serde_json::Value;
use wire::id::{NodeId, SandboxId, SnapshotId, TeamId, TemplateId};
use wire::node::SandboxSpec;
use wire::public::snapshot::Snapshot;
use wire::snapshot::Root;

use crate::record::SandboxRecord;
use crate::times::rfc3339;

/// A snapshot that a team has a name for. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotRecord {
    /// Which.
    pub id: SnapshotId,
    /// Whose.
    pub team: TeamId,
    /// What they call it.
    pub name: String,
    /// Of what it is.
    pub sandbox: SandboxId,
    /// What that was made from.
    pub template: TemplateId,
    /// Where it was taken.
    pub node: NodeId,
    /// Whether its sandbox ends with it.
    pub ends: bool,
    /// What nodes call it; `None` while it is being taken.
    pub root: Option<Root>,
    /// Its memory and files, in bytes.
    pub bytes: u64,
    /// What sandboxes are made of that go on from it.
    pub spec: SandboxSpec,
    /// What they may reach.
    pub network_policy: Option<Value>,
    /// When it was asked for.
    pub created_at_ms: i64,
}

impl SnapshotRecord {
    /// One of this sandbox that is about to be taken.
    pub fn of(
        sandbox: &SandboxRecord,
        id: SnapshotId,
        name: Option<String>,
        ends: bool,
        now_ms: i64,
    ) -> Self {
        let mut spec = sandbox.spec.clone();
        spec.from = None;
        Self {
            name: name.unwrap_or_else(|| id.to_string()),
            id,
            team: sandbox.team.clone(),
            sandbox: sandbox.id.clone(),
            template: sandbox.template.clone(),
            node: sandbox.node.clone(),
            ends,
            root: None,
            bytes: 0,
            spec,
            network_policy: sandbox.network_policy.clone(),
            created_at_ms: now_ms,
        }
    }

    /// As its owner sees it.
    pub fn present(self) -> Snapshot {
        Snapshot {
            id: self.id,
            name: self.name,
            sandbox_id: self.sandbox,
            template_id: self.template,
            vcpu: self.spec.resources.vcpu,
            memory: self.spec.resources.memory_mib,
            disk: self.spec.resources.disk_mib,
            size_bytes: self.bytes,
            state: "ready".into(),
            network_policy: self.network_policy,
            created_at: rfc3339(self.created_at_ms),
        }
    }
}
