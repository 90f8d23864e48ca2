//! Snapshots.

use sqlx::{FromRow, Sqlite, Transaction};
use wire::id::{SandboxId, SnapshotId, TeamId};
use wire::public::limits::SNAPSHOTS_PER_TEAM_MAX;
use wire::snapshot::Root;

use super::{Paging, Store, Within, json, parse, teams};
use crate::error::{Error, Result};
use crate::quota;
use crate::snapshots::record::SnapshotRecord;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, team_id, name, sandbox_id, template_id, node_id, ends, root, bytes, spec, network_policy, ",
            "created_at_ms FROM snapshots ",
            $rest
        )
    };
}

/// Which of a team's are in a list.
macro_rules! listed {
    () => {
        "team_id = $1 AND root IS NOT NULL AND instr(lower(name), lower($2)) > 0"
    };
}

/// A page of them, in one of the orders a list can have.
macro_rules! select_page {
    ($order:literal) => {
        concat!(select!("WHERE "), listed!(), " ORDER BY ", $order, " LIMIT $3 OFFSET $4")
    };
}

/// How a list is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotSort {
    /// Oldest first.
    CreatedAsc,
    /// Newest first.
    CreatedDesc,
    /// By the id of the template.
    TemplateAsc,
    /// By the id of the template, backwards.
    TemplateDesc,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPage {
    /// Only those whose name has this in it.
    pub query: String,
    /// In what order.
    pub sort: SnapshotSort,
    /// Which part.
    pub paging: Paging,
}

#[derive(FromRow)]
struct Row {
    id: String,
    team_id: String,
    name: String,
    sandbox_id: String,
    template_id: String,
    node_id: String,
    ends: bool,
    root: Option<String>,
    bytes: i64,
    spec: String,
    network_policy: Option<String>,
    created_at_ms: i64,
}

impl TryFrom<Row> for SnapshotRecord {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let id = row.id.as_str();
        let policy = row.network_policy.as_deref().map(|text| parse(id, serde_json::from_str(text)));
        Ok(Self {
            id: parse(id, id.parse())?,
            team: parse(id, row.team_id.parse())?,
            name: row.name,
            sandbox: parse(id, row.sandbox_id.parse())?,
            template: parse(id, row.template_id.parse())?,
            node: parse(id, row.node_id.parse())?,
            ends: row.ends,
            root: row.root.map(|root| parse(id, root.parse())).transpose()?,
            bytes: row.bytes.unsigned_abs(),
            spec: parse(id, serde_json::from_str(&row.spec))?,
            network_policy: policy.transpose()?,
            created_at_ms: row.created_at_ms,
        })
    }
}

impl Store {
    /// Records a snapshot that is about to be taken.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::TeamLimit`].
    pub async fn begin_snapshot(&self, record: &SnapshotRecord) -> Result<()> {
        let mut tx = self.write().await?;
        // A team that has just been removed has no keys either.
        teams::find(&mut tx, &record.team).await?.ok_or(Error::Unauthorized)?;
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM snapshots WHERE team_id = $1")
            .bind(record.team.as_str())
            .fetch_one(&mut *tx)
            .await?;
        quota::within("snapshots", SNAPSHOTS_PER_TEAM_MAX, count.unsigned_abs(), 1)?;
        if has_name(&mut tx, &record.team, &record.name).await? {
            return Err(Error::AlreadyExists { kind: "snapshot", name: record.name.clone() });
        }
        insert(&mut tx, record).await?;
        tx.commit().within().await
    }

    /// A snapshot has been taken; it may be known. `None` if nobody waits for it any more.
    pub async fn finish_snapshot(
        &self,
        id: &SnapshotId,
        root: Root,
        bytes: u64,
    ) -> Result<Option<SnapshotRecord>> {
        let sql = "UPDATE snapshots SET root = $2, bytes = $3 WHERE id = $1 AND (root IS NULL OR root = $2)";
        let query = sqlx::query(sql).bind(id.as_str()).bind(root.to_string()).bind(bytes as i64);
        query.execute(&self.writer).within().await?;
        self.snapshot(id).await
    }

    /// A sandbox is gone, and left this: what was to be taken of it is this snapshot, or else there is none; and one that
    /// nobody asked for has a name of its own. Twice is as good as once.
    pub async fn inherit_snapshot(&self, heir: &SnapshotRecord) -> Result<()> {
        let mut tx = self.write().await?;
        let root = heir.root.map(|root| root.to_string());
        let known: Option<(String,)> = sqlx::query_as("SELECT id FROM snapshots WHERE root = $1")
            .bind(&root)
            .fetch_optional(&mut *tx)
            .await?;
        let mut is_named = known.is_some();
        if !is_named && root.is_some() {
            let sql = "UPDATE snapshots SET root = $2 WHERE sandbox_id = $1 AND root IS NULL AND ends";
            let query = sqlx::query(sql).bind(heir.sandbox.as_str()).bind(&root);
            is_named = query.execute(&mut *tx).await?.rows_affected() > 0;
        }
        let sql = "DELETE FROM snapshots WHERE sandbox_id = $1 AND root IS NULL AND ends";
        sqlx::query(sql).bind(heir.sandbox.as_str()).execute(&mut *tx).await?;
        if !is_named && root.is_some() {
            let mut heir = heir.clone();
            if has_name(&mut tx, &heir.team, &heir.name).await? {
                heir.name = heir.id.to_string();
            }
            insert(&mut tx, &heir).await?;
        }
        tx.commit().within().await
    }

    /// Forgets what earlier processes of ours were taking, but for what a sandbox is to end with.
    pub async fn forget_unfinished_snapshots(&self) -> Result<u64> {
        let sql = "DELETE FROM snapshots WHERE root IS NULL AND NOT ends";
        Ok(sqlx::query(sql).execute(&self.writer).within().await?.rows_affected())
    }

    /// One snapshot.
    pub async fn snapshot(&self, id: &SnapshotId) -> Result<Option<SnapshotRecord>> {
        let query = sqlx::query_as::<_, Row>(select!("WHERE id = $1")).bind(id.as_str());
        query.fetch_optional(&self.readers).within().await?.map(SnapshotRecord::try_from).transpose()
    }

    /// The team's snapshot of this name, if it has been taken.
    pub async fn snapshot_by_name(&self, team: &TeamId, name: &str) -> Result<Option<SnapshotRecord>> {
        let sql = select!("WHERE team_id = $1 AND name = $2 AND root IS NOT NULL");
        let query = sqlx::query_as::<_, Row>(sql).bind(team.as_str()).bind(name);
        query.fetch_optional(&self.readers).within().await?.map(SnapshotRecord::try_from).transpose()
    }

    /// A page of a team's snapshots, and how many there are before paging.
    pub async fn snapshots(&self, team: &TeamId, page: &SnapshotPage) -> Result<(Vec<SnapshotRecord>, u64)> {
        let sql = match page.sort {
            SnapshotSort::CreatedAsc => select_page!("created_at_ms ASC, id ASC"),
            SnapshotSort::CreatedDesc => select_page!("created_at_ms DESC, id DESC"),
            SnapshotSort::TemplateAsc => select_page!("template_id ASC, created_at_ms ASC, id ASC"),
            SnapshotSort::TemplateDesc => select_page!("template_id DESC, created_at_ms DESC, id DESC"),
        };
        let rows: Vec<Row> = sqlx::query_as(sql)
            .bind(team.as_str())
            .bind(&page.query)
            .bind(page.paging.limit())
            .bind(page.paging.offset())
            .fetch_all(&self.readers)
            .within()
            .await?;
        let total: (i64,) = sqlx::query_as(concat!("SELECT COUNT(*) FROM snapshots WHERE ", listed!()))
            .bind(team.as_str())
            .bind(&page.query)
            .fetch_one(&self.readers)
            .within()
            .await?;
        let records = rows.into_iter().map(SnapshotRecord::try_from).collect::<Result<_>>()?;
        Ok((records, total.0.unsigned_abs()))
    }

    /// Removes one snapshot.
    pub async fn remove_snapshot(&self, id: &SnapshotId) -> Result<()> {
        sqlx::query("DELETE FROM snapshots WHERE id = $1")
            .bind(id.as_str())
            .execute(&self.writer)
            .within()
            .await?;
        Ok(())
    }

    /// What nodes call every snapshot there is.
    pub async fn snapshot_roots(&self) -> Result<Vec<Root>> {
        let sql = "SELECT root FROM snapshots WHERE root IS NOT NULL";
        let rows: Vec<(String,)> = sqlx::query_as(sql).fetch_all(&self.readers).within().await?;
        rows.iter().map(|(root,)| parse(root, root.parse())).collect()
    }

    /// Whether something of this sandbox is to be inherited.
    pub async fn awaits_snapshot(&self, sandbox: &SandboxId) -> Result<bool> {
        let sql = "SELECT COUNT(*) FROM snapshots WHERE sandbox_id = $1 AND root IS NULL AND ends";
        let (count,): (i64,) =
            sqlx::query_as(sql).bind(sandbox.as_str()).fetch_one(&self.readers).within().await?;
        Ok(count > 0)
    }
}

async fn has_name(tx: &mut Transaction<'static, Sqlite>, team: &TeamId, name: &str) -> Result<bool> {
    let sql = "SELECT COUNT(*) FROM snapshots WHERE team_id = $1 AND name = $2";
    let (count,): (i64,) = sqlx::query_as(sql).bind(team.as_str()).bind(name).fetch_one(&mut **tx).await?;
    Ok(count > 0)
}

async fn insert(tx: &mut Transaction<'static, Sqlite>, record: &SnapshotRecord) -> Result<()> {
    let sql = "INSERT INTO snapshots (id, team_id, name, sandbox_id, template_id, node_id, ends, root, bytes, spec, \
               network_policy, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    sqlx::query(sql)
        .bind(record.id.as_str())
        .bind(record.team.as_str())
        .bind(&record.name)
        .bind(record.sandbox.as_str())
        .bind(record.template.as_str())
        .bind(record.node.as_str())
        .bind(record.ends)
        .bind(record.root.map(|root| root.to_string()))
        .bind(record.bytes as i64)
        .bind(json(&record.spec)?)
        .bind(record.network_policy.as_ref().map(json).transpose()?)
        .bind(record.created_at_ms)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
