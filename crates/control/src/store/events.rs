//! What became of sandboxes: written with each change, in its transaction.

use sqlx::{FromRow, Sqlite, Transaction};
use wire::id::{SandboxId, TeamId};
use wire::sandbox::State;

use super::{Store, Within, from_word, parse};
use crate::error::{Error, Result};
use crate::record::{End, SandboxRecord};

/// A sandbox entered a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// Greater than that of every event before it.
    pub id: u64,
    /// Which sandbox.
    pub sandbox: SandboxId,
    /// What it became.
    pub state: State,
    /// Why it ends, if it does.
    pub end: Option<End>,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    sandbox_id: String,
    state: String,
    reason: Option<String>,
    detail: Option<String>,
    at_ms: i64,
}

impl TryFrom<Row> for EventRecord {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let id = row.sandbox_id.as_str();
        let reason = row.reason.as_deref().map(|reason| parse(id, from_word(reason))).transpose()?;
        Ok(Self {
            id: row.id.unsigned_abs(),
            sandbox: parse(id, id.parse())?,
            state: parse(id, from_word(&row.state))?,
            end: reason.map(|reason| End { reason, detail: row.detail.unwrap_or_default() }),
            at_ms: row.at_ms,
        })
    }
}

impl Store {
    /// What became of a team's sandboxes, or of one of them, after an event; so many at most, oldest first.
    pub async fn events(
        &self,
        team: &TeamId,
        sandbox: Option<&SandboxId>,
        after: u64,
        max: u32,
    ) -> Result<Vec<EventRecord>> {
        let sql = match sandbox {
            None => {
                "SELECT id, sandbox_id, state, reason, detail, at_ms FROM events \
                 WHERE team_id = $1 AND id > $2 ORDER BY id LIMIT $3"
            }
            Some(_) => {
                "SELECT id, sandbox_id, state, reason, detail, at_ms FROM events \
                 WHERE sandbox_id = $4 AND team_id = $1 AND id > $2 ORDER BY id LIMIT $3"
            }
        };
        let mut query = sqlx::query_as::<_, Row>(sql)
            .bind(team.as_str())
            .bind(i64::try_from(after).unwrap_or(i64::MAX))
            .bind(i64::from(max));
        if let Some(sandbox) = sandbox {
            query = query.bind(sandbox.as_str());
        }
        query.fetch_all(&self.readers).within().await?.into_iter().map(EventRecord::try_from).collect()
    }

    /// Removes events from before this time, except those of sandboxes whose record is there.
    pub async fn forget_events(&self, before_ms: i64) -> Result<u64> {
        let sql = "DELETE FROM events WHERE at_ms <= $1 AND sandbox_id NOT IN (SELECT id FROM sandboxes)";
        Ok(sqlx::query(sql).bind(before_ms).execute(&self.writer).within().await?.rows_affected())
    }
}

/// Notes what a sandbox has just become.
pub(super) async fn append(tx: &mut Transaction<'static, Sqlite>, record: &SandboxRecord) -> Result<()> {
    let sql = "INSERT INTO events (team_id, sandbox_id, state, reason, detail, at_ms) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    sqlx::query(sql)
        .bind(record.team.as_str())
        .bind(record.id.as_str())
        .bind(record.observed.as_str())
        .bind(record.end.as_ref().map(|end| end.reason.as_str()))
        .bind(record.end.as_ref().map(|end| end.detail.as_str()))
        .bind(record.state_changed_at_ms)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection, raw_sql};

    /// A store of before there were events, with one sandbox in it.
    const BEFORE: [&str; 3] = [
        include_str!("../../migrations/sqlite/0001_first_light.sql"),
        include_str!("../../migrations/sqlite/0002_teams_and_time.sql"),
        "INSERT INTO teams (id, name, created_at_ms) VALUES ('t', 't', 1); \
         INSERT INTO sandboxes (id, team_id, template_id, node_id, desired, observed, generation, vcpu, memory_mib, \
         spec, created_at_ms, state_changed_at_ms) VALUES ('s', 't', 'x', 'n', 'running', 'running', 1, 1, 1, '{}', 1, 7)",
    ];

    #[tokio::test]
    async fn what_was_there_before_is_told_as_it_is() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for sql in BEFORE.into_iter().chain([include_str!("../../migrations/sqlite/0003_events.sql")]) {
            raw_sql(sql).execute(&mut connection).await.unwrap();
        }
        let events: Vec<(i64, String, String, i64)> =
            sqlx::query_as("SELECT id, sandbox_id, state, at_ms FROM events")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert_eq!(events, [(1, "s".into(), "running".into(), 7)]);
    }
}
