//! A template is changed: a new version, of which only new sandboxes are made.
//!
//! Another image is looked for before anything changes, so that a typing error breaks nothing; until it is here, the
//! one before serves.

use std::sync::Arc;

use serde_json::{Map, Value};
use wire::id::TemplateId;
use wire::image::{ImageSource, RegistryCredentials};
use wire::node::PullImage;
use wire::public::template::Visibility;

use super::create::require_start;
use super::record::{Scope, Spec, TemplateRecord};
use super::{credentials, pull, require_operator_for, require_own, unknown};
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::secrets::Sealed;
use crate::store::Caller;

/// What somebody wants to be different about a template.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Another name.
    pub name: Option<String>,
    /// Another image, or the same source looked at again.
    pub uri: Option<String>,
    /// Other credentials.
    pub credentials: CredentialsChange,
    /// Who sees it.
    pub visibility: Option<Visibility>,
    /// What its sandboxes get.
    pub spec: SpecChange,
}

/// What becomes of a template's credentials.
#[derive(Debug, Clone, Default)]
pub enum CredentialsChange {
    /// They stay.
    #[default]
    Keep,
    /// There are none from now on.
    Forget,
    /// These are tried at once.
    Set(RegistryCredentials),
}

/// What becomes of a template's spec.
#[derive(Debug, Clone, Default)]
pub enum SpecChange {
    /// It stays.
    #[default]
    Keep,
    /// These fields change; those that are `null` are as if they had never been given.
    Merge(Map<String, Value>),
}

impl SpecChange {
    fn apply(&self, spec: &Spec) -> Result<Spec> {
        match self {
            Self::Keep => Ok(spec.clone()),
            Self::Merge(changes) => spec.merged(changes),
        }
    }
}

/// An image that is wanted, and what was found at its source.
struct Wanted {
    uri: String,
    begun: pull::Begun,
}

/// Changes a template.
pub async fn change(
    fleet: &Arc<Fleet>,
    caller: &Caller,
    id: &TemplateId,
    changes: Changes,
) -> Result<TemplateRecord> {
    let record = fleet.store.any_template(id).await?.ok_or_else(|| unknown(id))?;
    require_own(caller, &record)?;
    if let Some(visibility) = changes.visibility {
        require_operator_for(caller, visibility.into())?;
    }
    let sealed = match &changes.credentials {
        CredentialsChange::Set(given) => Some(credentials::seal(fleet, &caller.team, id, given)?),
        CredentialsChange::Keep | CredentialsChange::Forget => None,
    };
    let wanted = wanted(fleet, &record, &changes).await?;
    let now_ms = fleet.now_ms();
    let apply = |record: &mut TemplateRecord| {
        require_own(caller, record)?;
        apply(record, &changes, sealed, wanted.as_ref(), now_ms)
    };
    let (record, _) = fleet.store.change_template(id, apply).await?.ok_or_else(|| unknown(id))?;
    tracing::info!(template = %id, name = record.name, version = record.version, state = %record.state, "changed");
    fleet.announcer.announce(id.as_str());
    pull::start(fleet, &record, wanted.map(|wanted| wanted.begun));
    Ok(record)
}

/// Looks for the image that is wanted, if one is.
async fn wanted(fleet: &Fleet, record: &TemplateRecord, changes: &Changes) -> Result<Option<Wanted>> {
    let known = record.image.uri.as_deref().unwrap_or_default();
    let uri = match (&changes.uri, &changes.credentials) {
        (Some(uri), _) => uri.as_str(),
        (None, CredentialsChange::Set(_)) => known,
        (None, CredentialsChange::Keep | CredentialsChange::Forget) => return Ok(None),
    };
    let credentials = match &changes.credentials {
        CredentialsChange::Set(given) => Some(given.clone()),
        CredentialsChange::Forget => None,
        CredentialsChange::Keep => {
            require_same_registry(record, uri)?;
            credentials::unseal(fleet, record)?
        }
    };
    let order = PullImage { source: uri.to_owned(), credentials, resolve_only: false };
    Ok(Some(Wanted { uri: uri.to_owned(), begun: pull::begin(fleet, &order).await? }))
}

/// Credentials are shown to nobody but the registry they were given for: whoever may name another one would be shown them.
fn require_same_registry(record: &TemplateRecord, uri: &str) -> Result<()> {
    let of = |uri: &str| match uri.parse::<ImageSource>() {
        Ok(ImageSource::Registry(reference)) => Some(reference.registry),
        _ => None,
    };
    let known = record.image.uri.as_deref().and_then(of);
    if record.credentials.is_none() || known == of(uri) {
        return Ok(());
    }
    let error = format!(
        "those of the template are for {}; send those of the new registry too, or null",
        known.as_deref().unwrap_or("another place")
    );
    Err(Error::field("credentials", error))
}

/// What changes in the record. True if anything does.
fn apply(
    record: &mut TemplateRecord,
    changes: &Changes,
    sealed: Option<Sealed>,
    wanted: Option<&Wanted>,
    now_ms: i64,
) -> Result<bool> {
    let before = record.clone();
    if let Some(name) = &changes.name {
        record.name.clone_from(name);
    }
    if let Some(visibility) = changes.visibility {
        record.scope = Scope::from(visibility);
    }
    match &changes.credentials {
        CredentialsChange::Keep => {}
        CredentialsChange::Forget | CredentialsChange::Set(_) => record.credentials = sealed,
    }
    record.spec = changes.spec.apply(&record.spec)?;
    if let Some(Wanted { uri, begun }) = wanted {
        record.want(uri.clone(), &begun.resolved);
    }
    require_start(&record.spec.known, &record.image.config)?;
    let gives = |record: &TemplateRecord| (record.spec.clone(), record.image.manifest.clone());
    if gives(record) != gives(&before) {
        record.version += 1;
    }
    let changed = *record != before;
    record.updated_at_ms = if changed { now_ms } else { record.updated_at_ms };
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::super::example::fresh;
    use super::*;
    use serde_json::json;

    fn applied(changes: Changes) -> (TemplateRecord, bool) {
        let mut record = fresh();
        let changed = apply(&mut record, &changes, None, None, 2000).unwrap();
        (record, changed)
    }

    #[test]
    fn a_new_name_is_no_new_version_and_another_spec_is() {
        let (renamed, changed) = applied(Changes { name: Some("n".into()), ..Changes::default() });
        assert_eq!((renamed.version, renamed.updated_at_ms, changed), (1, 2000, true));
        let spec = SpecChange::Merge(json!({"vcpu": 2}).as_object().unwrap().clone());
        let (grown, _) = applied(Changes { spec, ..Changes::default() });
        assert_eq!(grown.version, 2);
        let same = applied(Changes { name: Some("t".into()), ..Changes::default() });
        assert_eq!((same.0.version, same.0.updated_at_ms, same.1), (1, 1000, false));
    }

    #[test]
    fn credentials_go_to_no_registry_they_were_not_given_for() {
        let mut record = fresh();
        assert!(require_same_registry(&record, "elsewhere.test/it").is_ok(), "it has none");
        record.credentials = Some(Sealed { kind: "basic".into(), text: String::new() });
        assert!(require_same_registry(&record, "r.test/other:v3").is_ok());
        for uri in ["elsewhere.test/it", "r.test:5000/it", "it", "oci:/it"] {
            let error = require_same_registry(&record, uri).unwrap_err().to_string();
            assert!(error.contains("r.test"), "{uri}: {error}");
        }
    }
}
