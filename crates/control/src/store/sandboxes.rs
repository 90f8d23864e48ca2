//! Sandboxes.

use std::collections::HashMap;

use sqlx::{FromRow, Sqlite, Transaction};
use wire::id::{NodeId, SandboxId, TeamId, TemplateId};
use wire::node::Capacity;
use wire::sandbox::State;

use super::{
    CreateKey, Paging, Store, TeamRecord, Within, events, from_word, idempotency, json, parse, teams, word,
};
use crate::error::{Error, Result};
use crate::record::{End, SandboxRecord};

/// What came of asking for a new sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is recorded, and its place reserved.
    Admitted(SandboxId),
    /// The same request made this one before.
    MadeBefore(SandboxId),
}

/// What is taken already.
#[derive(Debug, Clone)]
pub struct Promised {
    /// Of each node.
    pub nodes: HashMap<NodeId, Capacity>,
    /// By the team that asks for more, with its limits.
    pub team: TeamRecord,
}

/// How a list is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Oldest first.
    CreatedAsc,
    /// Newest first.
    CreatedDesc,
    /// By the word of the state.
    StateAsc,
    /// By the word of the state, backwards.
    StateDesc,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Only those in the state of this word.
    pub state: Option<&'static str>,
    /// Only those made from the template of this name or id.
    pub template: Option<String>,
    /// In what order.
    pub sort: Sort,
    /// Which part.
    pub paging: Paging,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, team_id, template_id, node_id, desired, observed, generation, spec, network_policy, ",
            "public_ports, end_reason, end_detail, failure, timeout_at_ms, ends_at_ms, seen_generation, created_at_ms, ",
            "launched_at_ms, state_changed_at_ms, deleted_at_ms FROM sandboxes ",
            $rest
        )
    };
}

/// Which of a team's living sandboxes are in a list.
macro_rules! listed {
    () => {
        "team_id = $1 AND observed <> 'deleted' AND ($2 = '' OR observed = $2) AND ($3 = '' OR template_id = $3 OR \
         template_id IN (SELECT id FROM templates WHERE name = $3 AND (scope IN ('system', 'public') OR team_id = $1)))"
    };
}

/// A page of them, in one of the orders a list can have.
macro_rules! select_page {
    ($order:literal) => {
        concat!(select!("WHERE "), listed!(), " ORDER BY ", $order, " LIMIT $4 OFFSET $5")
    };
}

#[derive(FromRow)]
struct Row {
    id: String,
    team_id: String,
    template_id: String,
    node_id: String,
    desired: String,
    observed: String,
    generation: i64,
    spec: String,
    network_policy: Option<String>,
    public_ports: String,
    end_reason: Option<String>,
    end_detail: Option<String>,
    failure: Option<String>,
    timeout_at_ms: Option<i64>,
    ends_at_ms: Option<i64>,
    seen_generation: i64,
    created_at_ms: i64,
    launched_at_ms: Option<i64>,
    state_changed_at_ms: i64,
    deleted_at_ms: Option<i64>,
}

impl TryFrom<Row> for SandboxRecord {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let id = row.id.as_str();
        let reason = row.end_reason.as_deref().map(|reason| parse(id, from_word(reason))).transpose()?;
        let policy = row.network_policy.as_deref().map(|text| parse(id, serde_json::from_str(text)));
        Ok(Self {
            id: parse(id, id.parse())?,
            team: parse(id, row.team_id.parse())?,
            template: parse(id, row.template_id.parse())?,
            node: parse(id, row.node_id.parse())?,
            desired: parse(id, from_word(&row.desired))?,
            observed: parse(id, from_word(&row.observed))?,
            generation: parse(id, u64::try_from(row.generation))?,
            spec: parse(id, serde_json::from_str(&row.spec))?,
            network_policy: policy.transpose()?,
            public_ports: parse(id, serde_json::from_str(&row.public_ports))?,
            end: reason.map(|reason| End { reason, detail: row.end_detail.unwrap_or_default() }),
            failure: row.failure.as_deref().map(|failure| parse(id, from_word(failure))).transpose()?,
            timeout_at_ms: row.timeout_at_ms,
            ends_at_ms: row.ends_at_ms,
            seen_generation: parse(id, u64::try_from(row.seen_generation))?,
            created_at_ms: row.created_at_ms,
            launched_at_ms: row.launched_at_ms,
            state_changed_at_ms: row.state_changed_at_ms,
            deleted_at_ms: row.deleted_at_ms,
        })
    }
}

fn records(rows: Vec<Row>) -> Result<Vec<SandboxRecord>> {
    rows.into_iter().map(SandboxRecord::try_from).collect()
}

impl Store {
    /// Reserves a place and records the sandbox, in one transaction: `choose` is given what is
    /// taken already, and returns the record to insert.
    pub async fn admit(
        &self,
        team: &TeamId,
        key: Option<&CreateKey>,
        key_since_ms: i64,
        choose: impl FnOnce(&Promised) -> Result<SandboxRecord>,
    ) -> Result<Admission> {
        let mut tx = self.write().await?;
        if let Some(key) = key
            && let Some(id) = idempotency::find(&mut tx, team, key, key_since_ms).await?
        {
            return Ok(Admission::MadeBefore(id));
        }
        // A team that has just been removed has no keys either.
        let of_team = teams::find(&mut tx, team).await?.ok_or(Error::Unauthorized)?;
        let record = choose(&Promised { nodes: promised(&mut tx).await?, team: of_team })?;
        insert(&mut tx, &record).await?;
        events::append(&mut tx, &record).await?;
        if let Some(key) = key {
            idempotency::remember(&mut tx, team, key, &record.id, record.created_at_ms).await?;
        }
        tx.commit().within().await?;
        Ok(Admission::Admitted(record.id))
    }

    /// One sandbox.
    pub async fn sandbox(&self, id: &SandboxId) -> Result<Option<SandboxRecord>> {
        let query = sqlx::query_as::<_, Row>(select!("WHERE id = $1")).bind(id.as_str());
        query.fetch_optional(&self.readers).within().await?.map(SandboxRecord::try_from).transpose()
    }

    /// Changes one sandbox, in one transaction. `change` says whether it changed anything.
    /// The record afterwards, and that answer; `None` if there is no such sandbox.
    pub async fn change(
        &self,
        id: &SandboxId,
        change: impl FnOnce(&mut SandboxRecord) -> bool,
    ) -> Result<Option<(SandboxRecord, bool)>> {
        let mut tx = self.write().await?;
        let query = sqlx::query_as::<_, Row>(select!("WHERE id = $1")).bind(id.as_str());
        let Some(row) = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
        let mut record = SandboxRecord::try_from(row)?;
        let before = record.observed;
        let changed = change(&mut record);
        if changed {
            let _noted = self.changes.of(id);
            update(&mut tx, &record).await?;
            if record.observed != before {
                events::append(&mut tx, &record).await?;
            }
            tx.commit().within().await?;
        }
        Ok(Some((record, changed)))
    }

    /// As [`Store::change`], unless `may` says that the sandbox's team may not have it so, in the same transaction.
    /// `None` if nothing changed.
    pub async fn change_if(
        &self,
        id: &SandboxId,
        may: impl FnOnce(&SandboxRecord, &TeamRecord) -> Result<()>,
        change: impl FnOnce(&mut SandboxRecord) -> bool,
    ) -> Result<Option<SandboxRecord>> {
        let mut tx = self.write().await?;
        let query = sqlx::query_as::<_, Row>(select!("WHERE id = $1")).bind(id.as_str());
        let Some(row) = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
        let before = SandboxRecord::try_from(row)?;
        let mut record = before.clone();
        if !change(&mut record) {
            return Ok(None);
        }
        let team = teams::find(&mut tx, &record.team).await?.ok_or(Error::Unauthorized)?;
        may(&before, &team)?;
        let _noted = self.changes.of(id);
        update(&mut tx, &record).await?;
        events::append(&mut tx, &record).await?;
        tx.commit().within().await?;
        Ok(Some(record))
    }

    /// A page of a team's sandboxes that are not gone, and how many there are before paging.
    pub async fn list(&self, team: &TeamId, page: &Page) -> Result<(Vec<SandboxRecord>, u64)> {
        let (state, template) =
            (page.state.unwrap_or_default(), page.template.as_deref().unwrap_or_default());
        let sql = match page.sort {
            Sort::CreatedAsc => select_page!("created_at_ms ASC, id ASC"),
            Sort::CreatedDesc => select_page!("created_at_ms DESC, id DESC"),
            Sort::StateAsc => select_page!("observed ASC, created_at_ms ASC, id ASC"),
            Sort::StateDesc => select_page!("observed DESC, created_at_ms DESC, id DESC"),
        };
        let rows: Vec<Row> = sqlx::query_as(sql)
            .bind(team.as_str())
            .bind(state)
            .bind(template)
            .bind(page.paging.limit())
            .bind(page.paging.offset())
            .fetch_all(&self.readers)
            .within()
            .await?;
        let total: (i64,) = sqlx::query_as(concat!("SELECT COUNT(*) FROM sandboxes WHERE ", listed!()))
            .bind(team.as_str())
            .bind(state)
            .bind(template)
            .fetch_one(&self.readers)
            .within()
            .await?;
        Ok((records(rows)?, total.0.unsigned_abs()))
    }

    /// Those whose node has yet to be told something; so many at most, longest waiting first.
    pub async fn unsettled(&self, max: u32) -> Result<Vec<SandboxRecord>> {
        let sql = select!(
            "WHERE observed IN ('starting', 'unpausing') OR (desired = 'deleted' AND observed <> 'deleted') \
             OR (desired = 'paused' AND observed IN ('running', 'snapshotting')) \
             OR (observed = 'running' AND ends_at_ms IS NOT NULL AND seen_generation < generation) \
             ORDER BY state_changed_at_ms, id LIMIT $1"
        );
        records(sqlx::query_as(sql).bind(i64::from(max)).fetch_all(&self.readers).within().await?)
    }

    /// The ids of those a node was seen to run.
    pub async fn running_on(&self, node: &NodeId) -> Result<Vec<SandboxId>> {
        let sql = "SELECT id FROM sandboxes WHERE node_id = $1 AND observed NOT IN ('starting', 'deleting', 'deleted')";
        let rows: Vec<(String,)> =
            sqlx::query_as(sql).bind(node.as_str()).fetch_all(&self.readers).within().await?;
        rows.iter().map(|(id,)| parse(id, id.parse())).collect()
    }

    /// How many there are in each state, the deleted left out.
    pub async fn count_by_state(&self) -> Result<HashMap<State, u64>> {
        let sql = "SELECT observed, COUNT(*) FROM sandboxes WHERE observed <> 'deleted' GROUP BY observed";
        let rows: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(&self.readers).within().await?;
        rows.iter()
            .map(|(state, count)| Ok((parse(state, from_word(state))?, count.unsigned_abs())))
            .collect()
    }

    /// How many a team has of each template, the deleted left out.
    pub async fn sandboxes_by_template(&self, team: &TeamId) -> Result<HashMap<TemplateId, u64>> {
        let sql = "SELECT template_id, COUNT(*) FROM sandboxes WHERE team_id = $1 AND observed <> 'deleted' \
                   GROUP BY template_id";
        let rows: Vec<(String, i64)> =
            sqlx::query_as(sql).bind(team.as_str()).fetch_all(&self.readers).await?;
        rows.iter().map(|(id, count)| Ok((parse(id, id.parse())?, count.unsigned_abs()))).collect()
    }

    /// Removes records of sandboxes gone before this time, except those an idempotency key still points at.
    pub async fn forget_deleted(&self, before_ms: i64) -> Result<u64> {
        let sql = "DELETE FROM sandboxes WHERE observed = 'deleted' AND deleted_at_ms <= $1 \
                   AND id NOT IN (SELECT sandbox_id FROM idempotency)";
        Ok(sqlx::query(sql).bind(before_ms).execute(&self.writer).within().await?.rows_affected())
    }
}

/// What is promised of each node: everything that is not known to be gone or paused.
async fn promised(tx: &mut Transaction<'static, Sqlite>) -> Result<HashMap<NodeId, Capacity>> {
    let sql = "SELECT node_id, COUNT(*), CAST(SUM(vcpu) AS BIGINT), CAST(SUM(memory_mib) AS BIGINT) \
               FROM sandboxes WHERE observed NOT IN ('paused', 'deleted') GROUP BY node_id";
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(sql).fetch_all(&mut **tx).await?;
    let sums = rows.into_iter().map(|(node, sandboxes, vcpu, memory_mib)| {
        let promised = Capacity {
            sandboxes: u32::try_from(sandboxes).unwrap_or(u32::MAX),
            vcpu: u32::try_from(vcpu).unwrap_or(u32::MAX),
            memory_mib: memory_mib.unsigned_abs(),
        };
        Ok((parse(&node, node.parse())?, promised))
    });
    sums.collect()
}

async fn insert(tx: &mut Transaction<'static, Sqlite>, record: &SandboxRecord) -> Result<()> {
    let sql = "INSERT INTO sandboxes (id, team_id, template_id, node_id, desired, observed, generation, \
               vcpu, memory_mib, spec, network_policy, timeout_at_ms, created_at_ms, state_changed_at_ms, \
               public_ports) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    sqlx::query(sql)
        .bind(record.id.as_str())
        .bind(record.team.as_str())
        .bind(record.template.as_str())
        .bind(record.node.as_str())
        .bind(word(&record.desired)?)
        .bind(record.observed.as_str())
        .bind(record.generation as i64)
        .bind(i64::from(record.spec.resources.vcpu))
        .bind(i64::from(record.spec.resources.memory_mib))
        .bind(json(&record.spec)?)
        .bind(record.network_policy.as_ref().map(json).transpose()?)
        .bind(record.timeout_at_ms)
        .bind(record.created_at_ms)
        .bind(record.state_changed_at_ms)
        .bind(json(&record.public_ports)?)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Writes all that may change in a life.
async fn update(tx: &mut Transaction<'static, Sqlite>, record: &SandboxRecord) -> Result<()> {
    let sql = "UPDATE sandboxes SET desired = $2, observed = $3, generation = $4, spec = $5, end_reason = $6, \
               end_detail = $7, failure = $8, timeout_at_ms = $9, launched_at_ms = $10, \
               state_changed_at_ms = $11, deleted_at_ms = $12, ends_at_ms = $13, seen_generation = $14, \
               public_ports = $15 WHERE id = $1";
    sqlx::query(sql)
        .bind(record.id.as_str())
        .bind(word(&record.desired)?)
        .bind(record.observed.as_str())
        .bind(record.generation as i64)
        .bind(json(&record.spec)?)
        .bind(record.end.as_ref().map(|end| end.reason.as_str()))
        .bind(record.end.as_ref().map(|end| end.detail.as_str()))
        .bind(record.failure.as_ref().map(word).transpose()?)
        .bind(record.timeout_at_ms)
        .bind(record.launched_at_ms)
        .bind(record.state_changed_at_ms)
        .bind(record.deleted_at_ms)
        .bind(record.ends_at_ms)
        .bind(record.seen_generation as i64)
        .bind(json(&record.public_ports)?)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
