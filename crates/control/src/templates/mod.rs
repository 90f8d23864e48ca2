//! What can be done with templates.

mod build;
mod change;
mod create;
mod credentials;
#[cfg(test)]
pub mod example;
mod prune;
mod pull;
pub mod record;
mod serving;

use std::collections::HashMap;
use std::sync::Arc;

use wire::id::{TeamId, TemplateId};
use wire::public::template::{
    CredentialsKind, ServingImage, Template, TemplateList, TemplateState, Visibility,
};

use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::keys::Scope as KeyScope;
use crate::store::Caller;
use crate::times::rfc3339;
use record::{Image, Scope, TemplateRecord};

pub use build::build_system;
pub use change::{Changes, CredentialsChange, SpecChange, change};
pub use create::{Order, boot, create};
pub use credentials::reseal;
pub use prune::{prune, prune_for_ever};
pub use pull::{Pulls, resume};
pub use serving::{Serving, lost, serving};

/// Templates in one list.
const TEMPLATES_MAX: u32 = 1000;

/// The template this team means by a name.
pub async fn by_name(fleet: &Fleet, team: &TeamId, name: &str) -> Result<TemplateRecord> {
    find(fleet, team, name).await?.ok_or_else(|| Error::not_found("template", name))
}

/// The same, if there is one.
pub async fn find(fleet: &Fleet, team: &TeamId, name: &str) -> Result<Option<TemplateRecord>> {
    fleet.store.template_by_name(team, name).await
}

/// One template.
pub async fn get(fleet: &Fleet, team: &TeamId, id: &TemplateId) -> Result<Template> {
    let found = fleet.store.template(team, id).await?;
    found.map(|record| present(fleet, record)).ok_or_else(|| unknown(id))
}

/// Every template the team may use.
pub async fn list(fleet: &Fleet, team: &TeamId) -> Result<TemplateList> {
    let items: Vec<Template> =
        all(fleet, team).await?.into_iter().map(|record| present(fleet, record)).collect();
    Ok(TemplateList { total_items: items.len() as u64, items })
}

/// Their records.
pub async fn all(fleet: &Fleet, team: &TeamId) -> Result<Vec<TemplateRecord>> {
    fleet.store.templates(team, TEMPLATES_MAX).await
}

/// How many sandboxes the team has of each template, where it has any.
pub async fn in_use(fleet: &Fleet, team: &TeamId) -> Result<HashMap<TemplateId, u64>> {
    fleet.store.sandboxes_by_template(team).await
}

/// Removes a template. Its sandboxes go on; no new one starts.
pub async fn delete(fleet: &Arc<Fleet>, caller: &Caller, id: &TemplateId) -> Result<()> {
    let removed = fleet.store.remove_template(id, |record| require_own(caller, record)).await?;
    let record = removed.ok_or_else(|| unknown(id))?;
    tracing::info!(template = %id, name = record.name, "deleted");
    // Whoever waits for its image waits for nothing.
    fleet.announcer.announce(id.as_str());
    Ok(())
}

/// Fails unless the caller may change this template.
fn require_own(caller: &Caller, record: &TemplateRecord) -> Result<()> {
    if record.is_system() {
        return Err(Error::SystemTemplate(record.name.clone()));
    }
    if record.team.as_ref() != Some(&caller.team) {
        return Err(unknown(&record.id));
    }
    // What every team starts from is not one team's affair.
    require_operator_for(caller, record.scope)
}

/// What every team is to see is an operator's to say.
fn require_operator_for(caller: &Caller, scope: Scope) -> Result<()> {
    if scope == Scope::Public && !caller.may(KeyScope::Operator) {
        return Err(Error::OperatorOnly);
    }
    Ok(())
}

fn unknown(id: &TemplateId) -> Error {
    Error::not_found("template", id.as_str())
}

/// A template as those who see it do.
pub fn present(fleet: &Fleet, record: TemplateRecord) -> Template {
    let is_pulling = record.state == TemplateState::Pulling;
    Template {
        progress: is_pulling.then(|| fleet.pulls.progress(&record.id, record.pull)).flatten(),
        is_system: record.is_system(),
        visibility: if record.scope == Scope::Team { Visibility::Team } else { Visibility::Public },
        id: record.id,
        name: record.name,
        digest: record.image.manifest,
        image_config: record.image.config,
        created_at: rfc3339(record.created_at_ms),
        updated_at: rfc3339(record.updated_at_ms),
        version: record.version,
        uri: record.image.uri,
        credentials: record.credentials.map(|sealed| CredentialsKind { kind: sealed.kind }),
        state: record.state,
        failure: record.failure,
        serving: record.serving.and_then(present_serving),
        spec: record.spec.known,
    }
}

fn present_serving(image: Image) -> Option<ServingImage> {
    Some(ServingImage { uri: image.uri?, digest: image.manifest })
}
