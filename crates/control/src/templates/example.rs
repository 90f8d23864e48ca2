//! A template for tests to be about.

use wire::id::{TeamId, TemplateId};
use wire::image::{Digest, ImageConfig};
use wire::public::template::TemplateState;

use super::record::{Image, Scope, Spec, TemplateRecord};

/// A template whose image is resolved, and has yet to come.
pub fn fresh() -> TemplateRecord {
    TemplateRecord {
        id: TemplateId::from_entropy([1; 20]),
        scope: Scope::Team,
        team: Some(TeamId::from_entropy([2; 20])),
        name: "t".into(),
        version: 1,
        spec: Spec::default(),
        image: Image {
            uri: Some("r.test/it:v1".into()),
            manifest: digest(1),
            config: ImageConfig::default(),
            digest: None,
        },
        serving: None,
        state: TemplateState::Pulling,
        failure: None,
        pull: 1,
        credentials: None,
        created_at_ms: 1000,
        updated_at_ms: 1000,
    }
}

pub fn digest(byte: u8) -> Digest {
    Digest::from_sha256([byte; 32])
}
