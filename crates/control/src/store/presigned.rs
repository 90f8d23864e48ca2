//! Presigned URLs, by the hashes of their tokens.

use sqlx::FromRow;
use wire::id::{PresignedUrlId, SandboxId, TeamId};
use wire::public::presigned::limits::PRESIGNED_URLS_MAX;

use super::{Store, Within, parse};
use crate::error::{Error, Result};

/// What the store says of one URL. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresignedRecord {
    /// Which.
    pub id: PresignedUrlId,
    /// Whose port it opens.
    pub sandbox: SandboxId,
    /// The port.
    pub port: u16,
    /// When it was made.
    pub created_at_ms: i64,
    /// From when on it opens nothing.
    pub expires_at_ms: i64,
}

/// What a URL opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Whose port.
    pub sandbox: SandboxId,
    /// Whose sandbox.
    pub team: TeamId,
    /// The port.
    pub port: u16,
    /// From when on it opens nothing.
    pub expires_at_ms: i64,
}

#[derive(FromRow)]
struct Row {
    id: String,
    sandbox_id: String,
    port: i64,
    created_at_ms: i64,
    expires_at_ms: i64,
}

impl TryFrom<Row> for PresignedRecord {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: parse(&row.id, row.id.parse())?,
            sandbox: parse(&row.id, row.sandbox_id.parse())?,
            port: parse(&row.id, u16::try_from(row.port))?,
            created_at_ms: row.created_at_ms,
            expires_at_ms: row.expires_at_ms,
        })
    }
}

impl Store {
    /// Adds a URL to its sandbox, whose expired ones go.
    ///
    /// # Errors
    /// [`Error::SandboxLimit`] when it has as many as it may.
    pub async fn add_presigned_url(&self, url: &PresignedRecord, hash: &str) -> Result<()> {
        let mut tx = self.write().await?;
        let expired = "DELETE FROM presigned_urls WHERE sandbox_id = $1 AND expires_at_ms <= $2";
        sqlx::query(expired).bind(url.sandbox.as_str()).bind(url.created_at_ms).execute(&mut *tx).await?;
        let count = "SELECT COUNT(*) FROM presigned_urls WHERE sandbox_id = $1";
        let (has,): (i64,) = sqlx::query_as(count).bind(url.sandbox.as_str()).fetch_one(&mut *tx).await?;
        if has >= i64::from(PRESIGNED_URLS_MAX) {
            let what = "presigned URLs";
            return Err(Error::SandboxLimit { what, name: "presigned_urls_max", limit: PRESIGNED_URLS_MAX });
        }
        let sql = "INSERT INTO presigned_urls (id, sandbox_id, hash, port, created_at_ms, expires_at_ms) \
                   VALUES ($1, $2, $3, $4, $5, $6)";
        sqlx::query(sql)
            .bind(url.id.as_str())
            .bind(url.sandbox.as_str())
            .bind(hash)
            .bind(i64::from(url.port))
            .bind(url.created_at_ms)
            .bind(url.expires_at_ms)
            .execute(&mut *tx)
            .await?;
        tx.commit().within().await
    }

    /// A sandbox's URLs that have not expired, oldest first.
    pub async fn presigned_urls(&self, sandbox: &SandboxId, now_ms: i64) -> Result<Vec<PresignedRecord>> {
        let sql = "SELECT id, sandbox_id, port, created_at_ms, expires_at_ms FROM presigned_urls \
                   WHERE sandbox_id = $1 AND expires_at_ms > $2 ORDER BY created_at_ms, id";
        let query = sqlx::query_as::<_, Row>(sql).bind(sandbox.as_str()).bind(now_ms);
        query.fetch_all(&self.readers).within().await?.into_iter().map(PresignedRecord::try_from).collect()
    }

    /// Removes a URL of this sandbox. False if there is none.
    pub async fn remove_presigned_url(&self, sandbox: &SandboxId, id: &PresignedUrlId) -> Result<bool> {
        let mut tx = self.write().await?;
        let _noted = self.changes.of(sandbox);
        let sql = "DELETE FROM presigned_urls WHERE id = $1 AND sandbox_id = $2";
        let gone = sqlx::query(sql).bind(id.as_str()).bind(sandbox.as_str()).execute(&mut *tx).await?;
        tx.commit().within().await?;
        Ok(gone.rows_affected() > 0)
    }

    /// What the URL opens whose token has this hash, if it has not expired and its sandbox is to be there.
    pub async fn presigned(&self, hash: &str, now_ms: i64) -> Result<Option<Opened>> {
        let sql = "SELECT sandboxes.id, sandboxes.team_id, presigned_urls.port, presigned_urls.expires_at_ms FROM presigned_urls \
                   JOIN sandboxes ON sandboxes.id = presigned_urls.sandbox_id \
                   WHERE presigned_urls.hash = $1 AND presigned_urls.expires_at_ms > $2 \
                   AND sandboxes.desired <> 'deleted'";
        let query = sqlx::query_as::<_, (String, String, i64, i64)>(sql).bind(hash).bind(now_ms);
        let Some((id, team, port, expires_at_ms)) = query.fetch_optional(&self.readers).within().await?
        else {
            return Ok(None);
        };
        let (sandbox, team) = (parse(&id, id.parse())?, parse(&id, team.parse())?);
        Ok(Some(Opened { sandbox, team, port: parse(&id, u16::try_from(port))?, expires_at_ms }))
    }
}
