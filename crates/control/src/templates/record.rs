//! What the store says of one template, and every way its image may change. Pure.
//!
//! ```text
//!              pull_now            pulled
//!  resolved ─────────────▶ pulling ─────────▶ ready
//!   (lazy)                  ▲   │               │
//!                  pull_now │   │ failed        │ want, lost
//!                           │   ▼               ▼
//!                          failed            pulling
//! ```
//!
//! Each time an image is wanted, `pull` grows: what is heard of an older pull changes nothing. While a new image
//! comes, the one before serves.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wire::id::{TeamId, TemplateId};
use wire::image::{Digest, ImageConfig};
use wire::node::{PullFailure, PullFailureCode, ResolvedImage};
use wire::public::template::{PullMode, TemplateSpec, TemplateState, Visibility};

use crate::error::{Error, Result};
use crate::secrets::Sealed;

/// Whose a template is, and who sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Ours; every team sees it.
    System,
    /// A team's, for itself.
    Team,
    /// A team's, for every team.
    Public,
}

impl From<Visibility> for Scope {
    fn from(visibility: Visibility) -> Self {
        match visibility {
            Visibility::Team => Self::Team,
            Visibility::Public => Self::Public,
        }
    }
}

/// What a template gives its sandboxes: what we know of, and what somebody else's words say besides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// What we know of.
    #[serde(flatten)]
    pub known: TemplateSpec,
    /// Kept as it is: a dialect's own words, or a newer server's.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Spec {
    /// With these fields changed; those that are `null` are as if they had never been given.
    pub fn merged(&self, changes: &Map<String, Value>) -> Result<Self> {
        let unreadable = |error| Error::internal("a template's spec cannot be merged", error);
        let mut merged = serde_json::to_value(self).map_err(unreadable)?;
        if let Some(object) = merged.as_object_mut() {
            object.extend(changes.clone());
            object.retain(|_, value| !value.is_null());
        }
        serde_json::from_value(merged).map_err(unreadable)
    }
}

/// An image, as far as it is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Where it comes from; nothing for ours.
    pub uri: Option<String>,
    /// What users see: the manifest, or, for ours, the root file system.
    pub manifest: Digest,
    /// How its processes run.
    pub config: ImageConfig,
    /// The root file system, once a node has it.
    pub digest: Option<Digest>,
}

/// What the store says of one template. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateRecord {
    /// Which.
    pub id: TemplateId,
    /// Who sees it.
    pub scope: Scope,
    /// Whose it is; nobody's if it is ours.
    pub team: Option<TeamId>,
    /// What its team calls it.
    pub name: String,
    /// Grows with each change of what new sandboxes get.
    pub version: u32,
    /// What they get.
    pub spec: Spec,
    /// The image that is wanted.
    pub image: Image,
    /// The one before, until that is here.
    pub serving: Option<Image>,
    /// Where the image that is wanted stands.
    pub state: TemplateState,
    /// Why it cannot be had.
    pub failure: Option<PullFailure>,
    /// How often an image was wanted.
    pub pull: u64,
    /// What its registry wants to see.
    pub credentials: Option<Sealed>,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it was last changed.
    pub updated_at_ms: i64,
}

impl TemplateRecord {
    /// Whether it is ours.
    pub fn is_system(&self) -> bool {
        self.scope == Scope::System
    }

    /// The image a sandbox can be made from now: its root file system, and how its processes run.
    pub fn image_now(&self) -> Option<(&Digest, &ImageConfig)> {
        let of = |image: &'_ Image| image.digest.is_some();
        let image = self.serving.as_ref().filter(|image| of(image)).or(Some(&self.image))?;
        Some((image.digest.as_ref()?, &image.config))
    }

    /// Another image is wanted, or the same again. True if it has yet to come.
    pub fn want(&mut self, uri: String, resolved: &ResolvedImage) -> bool {
        let is_here = self.state == TemplateState::Ready && self.image.manifest == resolved.digest;
        if is_here {
            self.image.uri = Some(uri);
            return false;
        }
        let new = Image {
            uri: Some(uri),
            manifest: resolved.digest.clone(),
            config: resolved.config.clone(),
            digest: None,
        };
        let old = std::mem::replace(&mut self.image, new);
        if old.digest.is_some() {
            self.serving = Some(old);
        }
        let can_wait = self.serving.is_none() && self.spec.known.pull == Some(PullMode::Lazy);
        self.begin(if can_wait { TemplateState::Resolved } else { TemplateState::Pulling });
        !can_wait
    }

    /// Its image is needed now. True if that is news.
    pub fn pull_now(&mut self) -> bool {
        let can = match self.state {
            TemplateState::Resolved | TemplateState::Failed => true,
            TemplateState::Pulling | TemplateState::Ready => false,
        };
        if can {
            self.begin(TemplateState::Pulling);
        }
        can
    }

    /// No node has this root file system any more. True if it has to come again.
    pub fn lost(&mut self, digest: &Digest) -> bool {
        if self.is_system() {
            return false;
        }
        if self.serving.as_ref().is_some_and(|image| image.digest.as_ref() == Some(digest)) {
            self.serving = None;
            return true;
        }
        let is_ours = self.image.digest.as_ref() == Some(digest);
        if is_ours {
            self.image.digest = None;
            self.begin(TemplateState::Pulling);
        }
        is_ours
    }

    fn begin(&mut self, state: TemplateState) {
        self.state = state;
        self.failure = None;
        self.pull += 1;
    }

    /// A pull has come to its end. True if it is the one that is waited for.
    pub fn pulled(&mut self, pull: u64, outcome: std::result::Result<Digest, PullFailure>) -> bool {
        if self.pull != pull || self.state != TemplateState::Pulling {
            return false;
        }
        match outcome {
            Ok(digest) => {
                self.image.digest = Some(digest);
                self.serving = None;
                self.state = TemplateState::Ready;
            }
            Err(failure) => {
                self.failure = Some(failure);
                self.state = TemplateState::Failed;
            }
        }
        true
    }
}

/// Whether a pull that failed so may go well when it is tried again as it was.
pub fn may_pass(code: PullFailureCode) -> bool {
    match code {
        PullFailureCode::Unreachable | PullFailureCode::DiskFull | PullFailureCode::Internal => true,
        PullFailureCode::Refused
        | PullFailureCode::NotFound
        | PullFailureCode::Unauthorized
        | PullFailureCode::InvalidImage => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::{digest, fresh};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn resolved(byte: u8) -> ResolvedImage {
        ResolvedImage { digest: digest(byte), config: ImageConfig::default(), layers: 1, layer_bytes: 1 }
    }

    fn failure(code: PullFailureCode) -> PullFailure {
        PullFailure { code, message: "no".into() }
    }

    #[derive(Debug, Clone)]
    enum Event {
        Want(u8),
        PullNow,
        Lost(u8),
        Pulled(u64, Option<u8>),
        Lazy(bool),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0u8..4).prop_map(Event::Want),
            Just(Event::PullNow),
            (100u8..104).prop_map(Event::Lost),
            (0u64..8, prop::option::of(100u8..104)).prop_map(|(pull, digest)| Event::Pulled(pull, digest)),
            any::<bool>().prop_map(Event::Lazy),
        ]
    }

    /// Whether it was news.
    fn apply(record: &mut TemplateRecord, event: &Event) -> bool {
        match event {
            Event::Want(byte) => record.want("r.test/it".into(), &resolved(*byte)),
            Event::PullNow => record.pull_now(),
            Event::Lost(byte) => record.lost(&digest(*byte)),
            Event::Pulled(pull, Some(byte)) => record.pulled(*pull, Ok(digest(*byte))),
            Event::Pulled(pull, None) => record.pulled(*pull, Err(failure(PullFailureCode::NotFound))),
            Event::Lazy(lazy) => {
                record.spec.known.pull = lazy.then_some(PullMode::Lazy);
                false
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_a_state_means_what_it_says(events in prop::collection::vec(any_event(), 0..30)) {
            let mut record = fresh();
            for event in &events {
                let before = record.clone();
                apply(&mut record, event);
                prop_assert!(record.pull >= before.pull);
                prop_assert_eq!(record.state == TemplateState::Ready, record.image.digest.is_some());
                prop_assert_eq!(record.state == TemplateState::Failed, record.failure.is_some());
                prop_assert!(record.serving.as_ref().is_none_or(|image| image.digest.is_some()));
                prop_assert!(record.serving.is_none() || record.state != TemplateState::Ready);
                prop_assert!(record.serving.is_none() || record.state != TemplateState::Resolved, "nobody would pull it");
                let loses = matches!(event, Event::Lost(_));
                prop_assert!(loses || before.image_now().is_none() || record.image_now().is_some(), "no gap");
            }
        }
    }

    #[test]
    fn the_old_image_serves_until_the_new_one_is_here_and_goes_on_when_that_never_comes() {
        let mut record = fresh();
        assert!(record.pulled(1, Ok(digest(101))));
        assert!(record.want("r.test/it:v2".into(), &resolved(2)));
        assert_eq!(record.image_now().unwrap().0, &digest(101));
        assert!(!record.pulled(1, Ok(digest(102))), "an older pull is nobody's concern");
        assert!(record.pulled(2, Err(failure(PullFailureCode::InvalidImage))));
        assert_eq!((record.state, record.image_now().unwrap().0), (TemplateState::Failed, &digest(101)));
        assert!(record.want("r.test/it:v3".into(), &resolved(3)));
        assert!(record.pulled(3, Ok(digest(103))));
        assert_eq!((record.image_now().unwrap().0, &record.serving), (&digest(103), &None));
    }

    #[test]
    fn the_same_image_again_need_not_come_again() {
        let mut record = fresh();
        record.pulled(1, Ok(digest(101)));
        assert!(!record.want("r.test/it:other-tag".into(), &resolved(1)));
        assert_eq!((record.state, record.pull), (TemplateState::Ready, 1));
    }

    #[test]
    fn a_spec_keeps_words_we_do_not_know_and_null_takes_back() {
        let stored = json!({"vcpu": 2, "memory": 512, "sandbox0": {"displayName": "x"}});
        let spec: Spec = serde_json::from_value(stored).unwrap();
        assert_eq!(spec.known.vcpu, Some(2));
        let changes = json!({"vcpu": 4, "memory": null});
        let merged = spec.merged(changes.as_object().unwrap()).unwrap();
        assert_eq!(
            serde_json::to_value(&merged).unwrap(),
            json!({"vcpu": 4, "sandbox0": {"displayName": "x"}})
        );
    }
}
