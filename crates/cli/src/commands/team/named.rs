//! How people name a team.

use anyhow::{Result, bail};
use wire::id::TeamId;
use wire::public::team::TeamList;

use crate::client::Session;
use crate::commands::sandbox::PAGE_SIZE;

/// The team with this id or name; no two have the same name.
///
/// # Errors
/// When there is none, or the key that asks may not see teams.
pub async fn resolve(session: &Session, text: &str) -> Result<TeamId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    for page in 1.. {
        let path = format!("/v1/teams?page={page}&page-size={PAGE_SIZE}");
        let list: TeamList = session.client.get(&path).await?;
        let is_last = list.items.len() < PAGE_SIZE;
        if let Some(team) = list.items.into_iter().find(|team| team.name == text) {
            return Ok(team.id);
        }
        if is_last {
            break;
        }
    }
    bail!("there is no team `{text}`; `atoll team ls` shows them")
}
