//! How people name a template.

use anyhow::{Result, bail};
use wire::id::TemplateId;
use wire::public::template::{Template, TemplateList, Visibility};

use crate::client::Session;

/// The template with this id or name; of several with one name the one the server would take: the team's own, or else a
/// public one, or else one of ours.
///
/// # Errors
/// When there is none.
pub async fn resolve(session: &Session, name: &str) -> Result<TemplateId> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let list: TemplateList = session.client.get("/v1/templates").await?;
    let named = list.items.into_iter().filter(|template| template.name == name);
    match named.min_by_key(distance) {
        Some(template) => Ok(template.id),
        None => bail!("there is no template `{name}`; `atoll template ls` shows them"),
    }
}

fn distance(template: &Template) -> u8 {
    match (template.is_system, template.visibility) {
        (false, Visibility::Team) => 0,
        (false, Visibility::Public) => 1,
        (true, _) => 2,
    }
}
