//! What can be done with teams.

use serde_json::{Map, Value};
use wire::id::TeamId;
use wire::public::team::{Me, OwnLimits, Team, TeamList};

use crate::entropy;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::keys;
use crate::quota::{changed, effective};
use crate::store::{Caller, Paging, TeamRecord};
use crate::times::rfc3339;

/// What somebody wants to be different about a team.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Another name.
    pub name: Option<String>,
    /// Limits that are known and in their ranges, or `null`.
    pub limits: Map<String, Value>,
}

/// Makes a team without keys.
pub async fn create(fleet: &Fleet, name: String, limits: &Map<String, Value>) -> Result<Team> {
    let id = TeamId::from_entropy(entropy::bytes()?);
    let own = changed(&OwnLimits::default(), limits)?;
    fleet.store.add_team(&id, &name, &own, fleet.now_ms()).await?;
    get(fleet, &id).await
}

/// One team.
pub async fn get(fleet: &Fleet, id: &TeamId) -> Result<Team> {
    let record = fleet.store.team(id).await?.ok_or_else(|| unknown(id))?;
    Ok(present(fleet, record))
}

/// A page of all teams.
pub async fn list(fleet: &Fleet, paging: Paging) -> Result<TeamList> {
    let (records, total_items) = fleet.store.teams(paging).await?;
    Ok(TeamList { items: records.into_iter().map(|record| present(fleet, record)).collect(), total_items })
}

/// Changes a name or limits. What a team already has beyond new limits stays.
pub async fn change(fleet: &Fleet, id: &TeamId, changes: &Changes) -> Result<Team> {
    let merge = |own: &OwnLimits| changed(own, &changes.limits);
    fleet.store.change_team(id, changes.name.as_deref(), merge).await?;
    get(fleet, id).await
}

/// Removes a team and its keys; refused while it has sandboxes.
pub async fn delete(fleet: &Fleet, id: &TeamId) -> Result<()> {
    fleet.store.remove_team(id, fleet.now_ms()).await
}

/// Who asks.
pub async fn me(fleet: &Fleet, caller: &Caller) -> Result<Me> {
    let key = fleet.store.key(&caller.key).await?.ok_or(Error::Unauthorized)?;
    Ok(Me { key: keys::present(key), team: get(fleet, &caller.team).await? })
}

fn unknown(id: &TeamId) -> Error {
    Error::not_found("team", id.as_str())
}

fn present(fleet: &Fleet, record: TeamRecord) -> Team {
    Team {
        limits: effective(&fleet.limits.team, &record.own),
        id: record.id,
        name: record.name,
        used: record.used,
        created_at: rfc3339(record.created_at_ms),
    }
}
