//! One sandbox, and what belongs to it, for every example to be about.

use wire::id::{KeyId, NodeId, PresignedUrlId, SandboxId, SnapshotId, TeamId, TemplateId};
use wire::image::{Digest, ImageConfig};

pub const CREATED_AT: &str = "2026-01-15T09:30:00Z";
pub const EXPIRES_AT: &str = "2026-02-14T09:30:00Z";
pub const TIMEOUT_AT: u64 = 1_768_469_700;

pub fn sandbox_id() -> SandboxId {
    SandboxId::from_entropy(*b"a sandbox of example")
}

pub fn template_id() -> TemplateId {
    TemplateId::from_entropy(*b"the example template")
}

pub fn snapshot_id() -> SnapshotId {
    SnapshotId::from_entropy(*b"the example snapshot")
}

pub fn node_id() -> NodeId {
    NodeId::from_entropy(*b"the node of examples")
}

pub fn digest() -> Digest {
    Digest::from_sha256(*b"the bytes of an example's image.")
}

pub fn image_config() -> ImageConfig {
    ImageConfig {
        entrypoint: None,
        cmd: Some(vec!["/bin/sh".into()]),
        working_dir: "/workspace".into(),
        user: "user".into(),
        env: Some([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())].into()),
        stop_signal: None,
    }
}

pub fn presigned_url_id() -> PresignedUrlId {
    PresignedUrlId::from_entropy(*b"one URL of a sandbox")
}

pub fn key_id() -> KeyId {
    KeyId::from_entropy(*b"the id of this a key")
}

pub fn team_id() -> TeamId {
    TeamId::from_entropy(*b"the team in examples")
}
