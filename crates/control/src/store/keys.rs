//! Teams and their keys.

use wire::id::{KeyId, TeamId};

use super::{Store, json, parse};
use crate::error::Result;
use crate::keys::Scope;

/// Who a request comes from.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key's id, for the logs.
    pub key: KeyId,
    /// The team it belongs to.
    pub team: TeamId,
    /// What it opens.
    pub scopes: Vec<Scope>,
}

impl Caller {
    /// Whether its key has this scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// A team and its first key.
pub struct NewTeam<'a> {
    /// The team.
    pub team: &'a TeamId,
    /// What people call it.
    pub name: &'a str,
    /// The key's id.
    pub key: &'a KeyId,
    /// The hash of the key.
    pub key_hash: &'a str,
    /// What the key opens.
    pub scopes: &'a [Scope],
}

impl Store {
    /// Whether any key exists.
    pub async fn has_keys(&self) -> Result<bool> {
        let row: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM keys").fetch_one(&self.readers).await?;
        Ok(row.0 > 0)
    }

    /// Adds a team and its first key.
    pub async fn add_team(&self, new: NewTeam<'_>, now_ms: i64) -> Result<()> {
        let mut tx = self.write().await?;
        sqlx::query("INSERT INTO teams (id, name, created_at_ms) VALUES ($1, $2, $3)")
            .bind(new.team.as_str())
            .bind(new.name)
            .bind(now_ms)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO keys (id, team_id, hash, scopes, created_at_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(new.key.as_str())
        .bind(new.team.as_str())
        .bind(new.key_hash)
        .bind(json(&new.scopes)?)
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Whose key has this hash.
    pub async fn caller(&self, key_hash: &str) -> Result<Option<Caller>> {
        let row: Option<(String, String, String)> =
            sqlx::query_as("SELECT id, team_id, scopes FROM keys WHERE hash = $1")
                .bind(key_hash)
                .fetch_optional(&self.readers)
                .await?;
        let Some((id, team, scopes)) = row else { return Ok(None) };
        let caller = Caller {
            key: parse(&id, id.parse())?,
            team: parse(&id, team.parse())?,
            scopes: parse(&id, serde_json::from_str(&scopes))?,
        };
        Ok(Some(caller))
    }
}
