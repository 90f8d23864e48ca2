//! Teams, and what each has.

use sqlx::{FromRow, Sqlite, Transaction};
use wire::id::TeamId;
use wire::public::team::{OwnLimits, TeamUse};

use super::keys::operators_without;
use super::{Paging, Store, Within, json, parse};
use crate::error::{Error, Result};

/// What the store says of one team.
#[derive(Debug, Clone)]
pub struct TeamRecord {
    /// Which.
    pub id: TeamId,
    /// What people call it.
    pub name: String,
    /// The limits that were set for it.
    pub own: OwnLimits,
    /// What it has.
    pub used: TeamUse,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, limits, created_at_ms, ",
            "(SELECT COUNT(*) FROM sandboxes s WHERE s.team_id = teams.id AND s.observed NOT IN ('paused', 'deleted')) ",
            "AS sandboxes, ",
            "(SELECT CAST(COALESCE(SUM(s.vcpu), 0) AS BIGINT) FROM sandboxes s ",
            "WHERE s.team_id = teams.id AND s.observed NOT IN ('paused', 'deleted')) AS vcpu, ",
            "(SELECT CAST(COALESCE(SUM(s.memory_mib), 0) AS BIGINT) FROM sandboxes s ",
            "WHERE s.team_id = teams.id AND s.observed NOT IN ('paused', 'deleted')) AS memory_mib, ",
            "(SELECT COUNT(*) FROM keys k WHERE k.team_id = teams.id) AS keys, ",
            "(SELECT COUNT(*) FROM templates t WHERE t.team_id = teams.id) AS templates FROM teams ",
            $rest
        )
    };
}

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    limits: String,
    created_at_ms: i64,
    sandboxes: i64,
    vcpu: i64,
    memory_mib: i64,
    keys: i64,
    templates: i64,
}

impl TryFrom<Row> for TeamRecord {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let amount = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Self {
            id: parse(&row.id, row.id.parse())?,
            name: row.name,
            own: parse(&row.id, serde_json::from_str(&row.limits))?,
            used: TeamUse {
                sandboxes: amount(row.sandboxes),
                vcpu: amount(row.vcpu),
                memory_mib: row.memory_mib.unsigned_abs(),
                keys: amount(row.keys),
                templates: amount(row.templates),
            },
            created_at_ms: row.created_at_ms,
        })
    }
}

impl Store {
    /// Adds a team.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if another has its name.
    pub async fn add_team(&self, id: &TeamId, name: &str, own: &OwnLimits, now_ms: i64) -> Result<()> {
        let mut tx = self.write().await?;
        insert(&mut tx, id, name, own, now_ms).await?;
        tx.commit().within().await
    }

    /// One team.
    pub async fn team(&self, id: &TeamId) -> Result<Option<TeamRecord>> {
        let query = sqlx::query_as::<_, Row>(select!("WHERE id = $1")).bind(id.as_str());
        query.fetch_optional(&self.readers).within().await?.map(TeamRecord::try_from).transpose()
    }

    /// A page of all teams by name, and how many there are before paging.
    pub async fn teams(&self, paging: Paging) -> Result<(Vec<TeamRecord>, u64)> {
        let mut tx = self.readers.begin().within().await?;
        let query = sqlx::query_as::<_, Row>(select!("ORDER BY name, id LIMIT $1 OFFSET $2"));
        let rows = query.bind(paging.limit()).bind(paging.offset()).fetch_all(&mut *tx).await?;
        let total: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM teams").fetch_one(&mut *tx).await?;
        let records = rows.into_iter().map(TeamRecord::try_from).collect::<Result<_>>()?;
        Ok((records, total.0.unsigned_abs()))
    }

    /// Gives a team another name, if there is one, and other limits.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::AlreadyExists`] if another has its name.
    pub async fn change_team(
        &self,
        id: &TeamId,
        name: Option<&str>,
        limits: impl FnOnce(&OwnLimits) -> Result<OwnLimits>,
    ) -> Result<()> {
        let mut tx = self.write().await?;
        let team = find(&mut tx, id).await?.ok_or_else(|| Error::not_found("team", id.as_str()))?;
        let name = name.unwrap_or(&team.name);
        if name != team.name {
            require_free(&mut tx, name).await?;
        }
        sqlx::query("UPDATE teams SET name = $2, limits = $3 WHERE id = $1")
            .bind(id.as_str())
            .bind(name)
            .bind(json(&limits(&team.own)?)?)
            .execute(&mut *tx)
            .await?;
        tx.commit().within().await
    }

    /// Removes a team with its keys, its templates and the records of its sandboxes.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::TeamInUse`] while it has sandboxes; [`Error::LastOperatorKey`].
    pub async fn remove_team(&self, id: &TeamId, now_ms: i64) -> Result<()> {
        let mut tx = self.write().await?;
        let team = find(&mut tx, id).await?.ok_or_else(|| Error::not_found("team", id.as_str()))?;
        // Those that are paused, too, which count for nothing else.
        let sql = "SELECT COUNT(*) FROM sandboxes WHERE team_id = $1 AND observed <> 'deleted'";
        let (living,): (i64,) = sqlx::query_as(sql).bind(id.as_str()).fetch_one(&mut *tx).await?;
        if living > 0 {
            let sandboxes = u32::try_from(living).unwrap_or(u32::MAX);
            return Err(Error::TeamInUse { name: team.name, sandboxes });
        }
        if operators_without(&mut tx, "", id.as_str(), now_ms).await? == 0 {
            return Err(Error::LastOperatorKey);
        }
        let _noted = self.changes.of_all();
        for sql in [
            "DELETE FROM idempotency WHERE team_id = $1",
            "DELETE FROM events WHERE team_id = $1",
            "DELETE FROM snapshots WHERE team_id = $1",
            "DELETE FROM sandboxes WHERE team_id = $1",
            "DELETE FROM templates WHERE scope <> 'system' AND team_id = $1",
            "DELETE FROM keys WHERE team_id = $1",
            "DELETE FROM teams WHERE id = $1",
        ] {
            sqlx::query(sql).bind(id.as_str()).execute(&mut *tx).await?;
        }
        tx.commit().within().await
    }
}

/// [`Store::team`], inside a transaction that counts on it.
pub(super) async fn find(tx: &mut Transaction<'static, Sqlite>, id: &TeamId) -> Result<Option<TeamRecord>> {
    let query = sqlx::query_as::<_, Row>(select!("WHERE id = $1")).bind(id.as_str());
    query.fetch_optional(&mut **tx).await?.map(TeamRecord::try_from).transpose()
}

/// [`Store::add_team`], inside a transaction.
pub(super) async fn insert(
    tx: &mut Transaction<'static, Sqlite>,
    id: &TeamId,
    name: &str,
    own: &OwnLimits,
    now_ms: i64,
) -> Result<()> {
    require_free(tx, name).await?;
    sqlx::query("INSERT INTO teams (id, name, limits, created_at_ms) VALUES ($1, $2, $3, $4)")
        .bind(id.as_str())
        .bind(name)
        .bind(json(own)?)
        .bind(now_ms)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn require_free(tx: &mut Transaction<'static, Sqlite>, name: &str) -> Result<()> {
    let query = sqlx::query_as::<_, (i64,)>("SELECT COUNT(*) FROM teams WHERE name = $1").bind(name);
    match query.fetch_one(&mut **tx).await?.0 {
        0 => Ok(()),
        _ => Err(Error::AlreadyExists { kind: "team", name: name.to_owned() }),
    }
}
