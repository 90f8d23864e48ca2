//! Keys, by their hashes.

use sqlx::{FromRow, Sqlite, Transaction};
use wire::id::{KeyId, TeamId};
use wire::public::team::{OwnLimits, TeamLimits};

use super::{Paging, Store, Within, json, parse, teams};
use crate::error::{Error, Result};
use crate::keys::Scope;
use crate::quota;

/// Who a request comes from.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key's id, for the logs.
    pub key: KeyId,
    /// The team it belongs to.
    pub team: TeamId,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// The limits that were set for its team.
    pub own_limits: OwnLimits,
    /// From when on the key opens nothing.
    pub expires_at_ms: Option<i64>,
    /// When the key was last used, as far as that was written down.
    pub last_used_at_ms: Option<i64>,
}

impl Caller {
    /// Whether its key has this scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// What the store says of one key. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Which.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// Whose it is.
    pub team: TeamId,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at_ms: i64,
    /// From when on it opens nothing.
    pub expires_at_ms: Option<i64>,
    /// When it was last used.
    pub last_used_at_ms: Option<i64>,
}

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    team_id: String,
    scopes: String,
    created_at_ms: i64,
    expires_at_ms: Option<i64>,
    last_used_at_ms: Option<i64>,
}

impl TryFrom<Row> for KeyRecord {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: parse(&row.id, row.id.parse())?,
            team: parse(&row.id, row.team_id.parse())?,
            scopes: parse(&row.id, serde_json::from_str(&row.scopes))?,
            name: row.name,
            created_at_ms: row.created_at_ms,
            expires_at_ms: row.expires_at_ms,
            last_used_at_ms: row.last_used_at_ms,
        })
    }
}

#[derive(FromRow)]
struct CallerRow {
    id: String,
    team_id: String,
    scopes: String,
    limits: String,
    expires_at_ms: Option<i64>,
    last_used_at_ms: Option<i64>,
}

impl Store {
    /// Whether any key exists.
    pub async fn has_keys(&self) -> Result<bool> {
        let row: (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM keys").fetch_one(&self.readers).within().await?;
        Ok(row.0 > 0)
    }

    /// Adds a team and its first key.
    pub async fn add_team_with_key(&self, team_name: &str, key: &KeyRecord, hash: &str) -> Result<()> {
        let mut tx = self.write().await?;
        teams::insert(&mut tx, &key.team, team_name, &OwnLimits::default(), key.created_at_ms).await?;
        insert(&mut tx, key, hash).await?;
        tx.commit().within().await
    }

    /// Adds a key to its team. Expired ones of the team go when their place is needed.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the team, [`Error::TeamLimit`] when it has as many as it may.
    pub async fn add_key(&self, key: &KeyRecord, hash: &str, defaults: &TeamLimits) -> Result<()> {
        let mut tx = self.write().await?;
        let unknown = || Error::not_found("team", key.team.as_str());
        let team = teams::find(&mut tx, &key.team).await?.ok_or_else(unknown)?;
        let keys_max = quota::effective(defaults, &team.own).keys.into();
        if let Err(full) = quota::within("keys", keys_max, team.used.keys.into(), 1) {
            let expired = "DELETE FROM keys WHERE team_id = $1 AND expires_at_ms <= $2";
            let query = sqlx::query(expired).bind(key.team.as_str()).bind(key.created_at_ms);
            let freed = query.execute(&mut *tx).await?.rows_affected();
            if u64::from(team.used.keys) + 1 - freed.min(team.used.keys.into()) > keys_max {
                return Err(full);
            }
        }
        insert(&mut tx, key, hash).await?;
        tx.commit().within().await
    }

    /// One key.
    pub async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>> {
        let sql = "SELECT id, name, team_id, scopes, created_at_ms, expires_at_ms, last_used_at_ms FROM keys \
                   WHERE id = $1";
        let row: Option<Row> =
            sqlx::query_as(sql).bind(id.as_str()).fetch_optional(&self.readers).within().await?;
        row.map(KeyRecord::try_from).transpose()
    }

    /// A page of one team's keys or of all, oldest first, and how many there are before paging.
    pub async fn keys(&self, team: Option<&TeamId>, paging: Paging) -> Result<(Vec<KeyRecord>, u64)> {
        let team = team.map_or("", TeamId::as_str);
        let mut tx = self.readers.begin().within().await?;
        let sql = "SELECT id, name, team_id, scopes, created_at_ms, expires_at_ms, last_used_at_ms FROM keys \
                   WHERE $1 = '' OR team_id = $1 ORDER BY created_at_ms, id LIMIT $2 OFFSET $3";
        let query = sqlx::query_as::<_, Row>(sql).bind(team).bind(paging.limit()).bind(paging.offset());
        let rows = query.fetch_all(&mut *tx).await?;
        let count = "SELECT COUNT(*) FROM keys WHERE $1 = '' OR team_id = $1";
        let total: (i64,) = sqlx::query_as(count).bind(team).fetch_one(&mut *tx).await?;
        let records = rows.into_iter().map(KeyRecord::try_from).collect::<Result<_>>()?;
        Ok((records, total.0.unsigned_abs()))
    }

    /// Removes a key.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::LastOperatorKey`] if no other opens what only operators may.
    pub async fn revoke_key(&self, id: &KeyId, now_ms: i64) -> Result<()> {
        let mut tx = self.write().await?;
        if operators_without(&mut tx, id.as_str(), "", now_ms).await? == 0 {
            return Err(Error::LastOperatorKey);
        }
        let _noted = self.changes.of_all();
        let gone = sqlx::query("DELETE FROM keys WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
        if gone.rows_affected() == 0 {
            return Err(Error::not_found("key", id.as_str()));
        }
        tx.commit().within().await
    }

    /// Whose key has this hash, if it has not expired.
    pub async fn caller(&self, hash: &str, now_ms: i64) -> Result<Option<Caller>> {
        let sql = "SELECT keys.id, keys.team_id, keys.scopes, teams.limits, keys.expires_at_ms, \
                   keys.last_used_at_ms \
                   FROM keys JOIN teams ON teams.id = keys.team_id \
                   WHERE keys.hash = $1 AND (keys.expires_at_ms IS NULL OR keys.expires_at_ms > $2)";
        let query = sqlx::query_as::<_, CallerRow>(sql).bind(hash).bind(now_ms);
        let Some(row) = query.fetch_optional(&self.readers).within().await? else { return Ok(None) };
        let id = row.id.as_str();
        Ok(Some(Caller {
            key: parse(id, id.parse())?,
            team: parse(id, row.team_id.parse())?,
            scopes: parse(id, serde_json::from_str(&row.scopes))?,
            own_limits: parse(id, serde_json::from_str(&row.limits))?,
            expires_at_ms: row.expires_at_ms,
            last_used_at_ms: row.last_used_at_ms,
        }))
    }

    /// Writes down that a key is used now, unless it is written that it was since `since_ms`.
    pub async fn touch_key(&self, id: &KeyId, now_ms: i64, since_ms: i64) -> Result<()> {
        let sql = "UPDATE keys SET last_used_at_ms = $2 \
                   WHERE id = $1 AND (last_used_at_ms IS NULL OR last_used_at_ms <= $3)";
        sqlx::query(sql).bind(id.as_str()).bind(now_ms).bind(since_ms).execute(&self.writer).within().await?;
        Ok(())
    }
}

async fn insert(tx: &mut Transaction<'static, Sqlite>, key: &KeyRecord, hash: &str) -> Result<()> {
    let sql = "INSERT INTO keys (id, team_id, name, hash, scopes, created_at_ms, expires_at_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    sqlx::query(sql)
        .bind(key.id.as_str())
        .bind(key.team.as_str())
        .bind(&key.name)
        .bind(hash)
        .bind(json(&key.scopes)?)
        .bind(key.created_at_ms)
        .bind(key.expires_at_ms)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// How many good operators' keys there are but for this key, and for those of this team; either may be empty.
/// If there are none even with them, none can be lost, and the answer is not 0.
pub(super) async fn operators_without(
    tx: &mut Transaction<'static, Sqlite>,
    key: &str,
    team: &str,
    now_ms: i64,
) -> Result<u64> {
    let sql = "SELECT COUNT(*), COUNT(CASE WHEN id <> $1 AND team_id <> $2 THEN 1 END) FROM keys \
               WHERE scopes LIKE '%\"operator\"%' AND (expires_at_ms IS NULL OR expires_at_ms > $3)";
    let (all, others): (i64, i64) =
        sqlx::query_as(sql).bind(key).bind(team).bind(now_ms).fetch_one(&mut **tx).await?;
    Ok(if all == 0 { 1 } else { others.unsigned_abs() })
}
