//! Which sandbox a create with an `Idempotency-Key` made.

use sqlx::{Sqlite, Transaction};
use wire::id::{SandboxId, TeamId};

use super::{Store, Within, parse};
use crate::error::{Error, Result};

/// A client's promise that requests with this key are one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateKey {
    /// The header's value.
    pub key: String,
    /// SHA-256 of what was asked for, in hexadecimal.
    pub body_hash: String,
}

const FIND: &str =
    "SELECT sandbox_id, body_hash FROM idempotency WHERE team_id = $1 AND key = $2 AND created_at_ms > $3";

impl Store {
    /// The sandbox that this key made since `since_ms`.
    pub async fn created_with(
        &self,
        team: &TeamId,
        key: &CreateKey,
        since_ms: i64,
    ) -> Result<Option<SandboxId>> {
        let query = sqlx::query_as(FIND).bind(team.as_str()).bind(&key.key).bind(since_ms);
        same_request(query.fetch_optional(&self.readers).within().await?, key)
    }

    /// Forgets keys from before this time.
    pub async fn forget_create_keys(&self, before_ms: i64) -> Result<u64> {
        let done = sqlx::query("DELETE FROM idempotency WHERE created_at_ms <= $1")
            .bind(before_ms)
            .execute(&self.writer)
            .within()
            .await?;
        Ok(done.rows_affected())
    }
}

/// [`Store::created_with`], inside the transaction that would make the sandbox.
pub(super) async fn find(
    tx: &mut Transaction<'static, Sqlite>,
    team: &TeamId,
    key: &CreateKey,
    since_ms: i64,
) -> Result<Option<SandboxId>> {
    let query = sqlx::query_as(FIND).bind(team.as_str()).bind(&key.key).bind(since_ms);
    same_request(query.fetch_optional(&mut **tx).await?, key)
}

/// Remembers the key. One that is there has expired, or [`find`] would have found it.
pub(super) async fn remember(
    tx: &mut Transaction<'static, Sqlite>,
    team: &TeamId,
    key: &CreateKey,
    sandbox: &SandboxId,
    now_ms: i64,
) -> Result<()> {
    let sql = "INSERT INTO idempotency (team_id, key, body_hash, sandbox_id, created_at_ms) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (team_id, key) DO UPDATE SET \
               body_hash = excluded.body_hash, sandbox_id = excluded.sandbox_id, \
               created_at_ms = excluded.created_at_ms";
    sqlx::query(sql)
        .bind(team.as_str())
        .bind(&key.key)
        .bind(&key.body_hash)
        .bind(sandbox.as_str())
        .bind(now_ms)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn same_request(row: Option<(String, String)>, key: &CreateKey) -> Result<Option<SandboxId>> {
    match row {
        None => Ok(None),
        Some((_, body_hash)) if body_hash != key.body_hash => Err(Error::IdempotencyKeyReused),
        Some((sandbox, _)) => parse(&sandbox, sandbox.parse()).map(Some),
    }
}
