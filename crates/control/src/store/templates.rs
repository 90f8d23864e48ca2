//! Templates.

use sqlx::{FromRow, Sqlite, Transaction};
use wire::id::{TeamId, TemplateId};
use wire::image::{Digest, ImageConfig};
use wire::public::team::TeamLimits;

use super::{Store, Within, from_word, json, parse, teams, word};
use crate::error::{Error, Result};
use crate::quota;
use crate::secrets::Sealed;
use crate::templates::record::{Image, Scope, Spec, TemplateRecord};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, scope, team_id, name, version, spec, uri, manifest_digest, image_config, digest, serving, ",
            "state, failure, pull, credentials, credentials_kind, created_at_ms, updated_at_ms FROM templates ",
            $rest
        )
    };
}

#[derive(FromRow)]
struct Row {
    id: String,
    scope: String,
    team_id: String,
    name: String,
    version: i64,
    spec: String,
    uri: Option<String>,
    manifest_digest: String,
    image_config: String,
    digest: Option<String>,
    serving: Option<String>,
    state: String,
    failure: Option<String>,
    pull: i64,
    credentials: Option<String>,
    credentials_kind: Option<String>,
    created_at_ms: i64,
    updated_at_ms: i64,
}

impl TryFrom<Row> for TemplateRecord {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let id = row.id.as_str();
        let scope = parse(id, from_word(&row.scope))?;
        let image = Image {
            uri: row.uri,
            manifest: parse(id, row.manifest_digest.parse())?,
            config: parse(id, serde_json::from_str(&row.image_config))?,
            digest: row.digest.map(|digest| parse(id, digest.parse())).transpose()?,
        };
        let sealed = row.credentials.zip(row.credentials_kind);
        Ok(Self {
            id: parse(id, id.parse())?,
            scope,
            team: if scope == Scope::System { None } else { Some(parse(id, row.team_id.parse())?) },
            name: row.name,
            version: parse(id, u32::try_from(row.version))?,
            spec: parse(id, serde_json::from_str::<Spec>(&row.spec))?,
            image,
            serving: row.serving.map(|text| parse(id, serde_json::from_str(&text))).transpose()?,
            state: parse(id, from_word(&row.state))?,
            failure: row.failure.map(|text| parse(id, serde_json::from_str(&text))).transpose()?,
            pull: parse(id, u64::try_from(row.pull))?,
            credentials: sealed.map(|(text, kind)| Sealed { kind, text }),
            created_at_ms: row.created_at_ms,
            updated_at_ms: row.updated_at_ms,
        })
    }
}

fn records(rows: Vec<Row>) -> Result<Vec<TemplateRecord>> {
    rows.into_iter().map(TemplateRecord::try_from).collect()
}

impl Store {
    /// The template this team means by a name: its own, or else a public one, or else ours.
    pub async fn template_by_name(&self, team: &TeamId, name: &str) -> Result<Option<TemplateRecord>> {
        let sql = select!(
            "WHERE name = $1 AND (scope IN ('public', 'system') OR team_id = $2) \
             ORDER BY CASE WHEN team_id = $2 THEN 0 WHEN scope = 'public' THEN 1 ELSE 2 END LIMIT 1"
        );
        let row: Option<Row> =
            sqlx::query_as(sql).bind(name).bind(team.as_str()).fetch_optional(&self.readers).within().await?;
        row.map(TemplateRecord::try_from).transpose()
    }

    /// The template with this id, if the team may see it.
    pub async fn template(&self, team: &TeamId, id: &TemplateId) -> Result<Option<TemplateRecord>> {
        let record = self.any_template(id).await?;
        let is_seen =
            |record: &TemplateRecord| record.scope != Scope::Team || record.team.as_ref() == Some(team);
        Ok(record.filter(is_seen))
    }

    /// The template with this id, whoever may see it.
    pub async fn any_template(&self, id: &TemplateId) -> Result<Option<TemplateRecord>> {
        let query = sqlx::query_as::<_, Row>(select!("WHERE id = $1")).bind(id.as_str());
        query.fetch_optional(&self.readers).within().await?.map(TemplateRecord::try_from).transpose()
    }

    /// Every template the team may see, by name; so many at most.
    pub async fn templates(&self, team: &TeamId, max: u32) -> Result<Vec<TemplateRecord>> {
        let sql = select!(
            "WHERE scope IN ('public', 'system') OR team_id = $1 ORDER BY name, scope DESC, id LIMIT $2"
        );
        records(
            sqlx::query_as(sql)
                .bind(team.as_str())
                .bind(i64::from(max))
                .fetch_all(&self.readers)
                .within()
                .await?,
        )
    }

    /// Those whose image has yet to come; so many at most, longest waiting first.
    pub async fn pulling_templates(&self, max: u32) -> Result<Vec<TemplateRecord>> {
        let sql = select!("WHERE state = 'pulling' ORDER BY updated_at_ms, id LIMIT $1");
        records(sqlx::query_as(sql).bind(i64::from(max)).fetch_all(&self.readers).within().await?)
    }

    /// Those with credentials.
    pub async fn templates_with_credentials(&self) -> Result<Vec<TemplateRecord>> {
        let sql = select!("WHERE credentials IS NOT NULL ORDER BY id");
        records(sqlx::query_as(sql).fetch_all(&self.readers).within().await?)
    }

    /// Every root file system that a template, a snapshot or a sandbox that is not gone counts on.
    pub async fn images_in_use(&self) -> Result<Vec<Digest>> {
        let sql = "SELECT digest FROM templates WHERE digest IS NOT NULL \
                   UNION SELECT serving ->> 'digest' FROM templates WHERE serving IS NOT NULL \
                   UNION SELECT spec ->> 'image' FROM sandboxes WHERE observed <> 'deleted' \
                   UNION SELECT spec ->> 'image' FROM snapshots";
        let rows: Vec<(String,)> = sqlx::query_as(sql).fetch_all(&self.readers).within().await?;
        rows.iter().map(|(digest,)| parse(digest, digest.parse())).collect()
    }

    /// Fails if a team could not have one more template, of this name and scope.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::TeamLimit`].
    pub async fn check_template_room(
        &self,
        team: &TeamId,
        name: &str,
        scope: Scope,
        defaults: &TeamLimits,
    ) -> Result<()> {
        let mut tx = self.readers.begin().await?;
        require_room(&mut tx, team, name, scope, defaults).await
    }

    /// Adds a template of a team.
    ///
    /// # Errors
    /// As [`Store::check_template_room`].
    pub async fn add_template(&self, record: &TemplateRecord, defaults: &TeamLimits) -> Result<()> {
        let team = record.team.as_ref().ok_or_else(|| Error::SystemTemplate(record.name.clone()))?;
        let mut tx = self.write().await?;
        require_room(&mut tx, team, &record.name, record.scope, defaults).await?;
        insert(&mut tx, record).await?;
        tx.commit().within().await
    }

    /// Changes one template, in one transaction. `change` says whether it changed anything.
    /// The record afterwards, and that answer; `None` if there is no such template.
    ///
    /// # Errors
    /// Those of `change`; [`Error::AlreadyExists`] if another has its new name.
    pub async fn change_template(
        &self,
        id: &TemplateId,
        change: impl FnOnce(&mut TemplateRecord) -> Result<bool>,
    ) -> Result<Option<(TemplateRecord, bool)>> {
        let mut tx = self.write().await?;
        let Some(mut record) = find(&mut tx, id).await? else { return Ok(None) };
        let before = (record.name.clone(), record.scope);
        let changed = change(&mut record)?;
        if changed {
            if before != (record.name.clone(), record.scope) {
                require_free(&mut tx, &record).await?;
            }
            update(&mut tx, &record).await?;
            tx.commit().within().await?;
        }
        Ok(Some((record, changed)))
    }

    /// Removes one template, unless `check` fails. `None` if there is no such template.
    pub async fn remove_template(
        &self,
        id: &TemplateId,
        check: impl FnOnce(&TemplateRecord) -> Result<()>,
    ) -> Result<Option<TemplateRecord>> {
        let mut tx = self.write().await?;
        let Some(record) = find(&mut tx, id).await? else { return Ok(None) };
        check(&record)?;
        sqlx::query("DELETE FROM templates WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
        tx.commit().within().await?;
        Ok(Some(record))
    }

    /// Puts credentials that are sealed otherwise in the place of these, if they are still there.
    pub async fn reseal(&self, id: &TemplateId, old: &str, new: &str) -> Result<()> {
        let sql = "UPDATE templates SET credentials = $3 WHERE id = $1 AND credentials = $2";
        sqlx::query(sql).bind(id.as_str()).bind(old).bind(new).execute(&self.writer).within().await?;
        Ok(())
    }

    /// Records that a system template is this image now. It keeps its id.
    pub async fn put_system_template(
        &self,
        fresh_id: &TemplateId,
        name: &str,
        digest: &Digest,
        config: &ImageConfig,
        now_ms: i64,
    ) -> Result<()> {
        let sql = "INSERT INTO templates (id, scope, team_id, name, version, spec, manifest_digest, image_config, \
                   digest, state, pull, created_at_ms, updated_at_ms) \
                   VALUES ($1, 'system', '', $2, 1, '{}', $3, $4, $3, 'ready', 0, $5, $5) \
                   ON CONFLICT (team_id, name) DO UPDATE SET digest = excluded.digest, \
                   manifest_digest = excluded.manifest_digest, image_config = excluded.image_config, \
                   version = templates.version + 1, updated_at_ms = excluded.updated_at_ms \
                   WHERE templates.digest <> excluded.digest OR templates.image_config <> excluded.image_config";
        sqlx::query(sql)
            .bind(fresh_id.as_str())
            .bind(name)
            .bind(digest.as_str())
            .bind(json(config)?)
            .bind(now_ms)
            .execute(&self.writer)
            .within()
            .await?;
        Ok(())
    }
}

async fn find(tx: &mut Transaction<'static, Sqlite>, id: &TemplateId) -> Result<Option<TemplateRecord>> {
    let query = sqlx::query_as::<_, Row>(select!("WHERE id = $1")).bind(id.as_str());
    query.fetch_optional(&mut **tx).await?.map(TemplateRecord::try_from).transpose()
}

async fn require_room(
    tx: &mut Transaction<'static, Sqlite>,
    team: &TeamId,
    name: &str,
    scope: Scope,
    defaults: &TeamLimits,
) -> Result<()> {
    // A team that has just been removed has no keys either.
    let of_team = teams::find(tx, team).await?.ok_or(Error::Unauthorized)?;
    require_free_name(tx, "", team.as_str(), name, scope).await?;
    let templates_max = quota::effective(defaults, &of_team.own).templates.into();
    quota::within("templates", templates_max, of_team.used.templates.into(), 1)
}

async fn require_free(tx: &mut Transaction<'static, Sqlite>, record: &TemplateRecord) -> Result<()> {
    let team = record.team.as_ref().map_or("", TeamId::as_str);
    require_free_name(tx, record.id.as_str(), team, &record.name, record.scope).await
}

/// Fails if a template but this one stands in the way of the name: one of the team's, or, where every team is to see
/// it, another public one.
async fn require_free_name(
    tx: &mut Transaction<'static, Sqlite>,
    id: &str,
    team: &str,
    name: &str,
    scope: Scope,
) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM templates WHERE name = $1 AND id <> $2 \
               AND (team_id = $3 OR (scope = 'public' AND $4))";
    let query = sqlx::query_as::<_, (i64,)>(sql).bind(name).bind(id).bind(team).bind(scope == Scope::Public);
    match query.fetch_one(&mut **tx).await?.0 {
        0 => Ok(()),
        _ => Err(Error::AlreadyExists { kind: "template", name: name.to_owned() }),
    }
}

async fn insert(tx: &mut Transaction<'static, Sqlite>, record: &TemplateRecord) -> Result<()> {
    let sql = "INSERT INTO templates (id, scope, team_id, name, version, spec, uri, manifest_digest, image_config, \
               digest, serving, state, failure, pull, credentials, credentials_kind, created_at_ms, updated_at_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";
    write(tx, sql, record).await
}

async fn update(tx: &mut Transaction<'static, Sqlite>, record: &TemplateRecord) -> Result<()> {
    let sql = "UPDATE templates SET scope = $2, team_id = $3, name = $4, version = $5, spec = $6, uri = $7, \
               manifest_digest = $8, image_config = $9, digest = $10, serving = $11, state = $12, failure = $13, \
               pull = $14, credentials = $15, credentials_kind = $16, created_at_ms = $17, updated_at_ms = $18 \
               WHERE id = $1";
    write(tx, sql, record).await
}

/// Both take every column, in the same order.
async fn write(
    tx: &mut Transaction<'static, Sqlite>,
    sql: &'static str,
    record: &TemplateRecord,
) -> Result<()> {
    let (image, sealed) = (&record.image, record.credentials.as_ref());
    sqlx::query(sql)
        .bind(record.id.as_str())
        .bind(word(&record.scope)?)
        .bind(record.team.as_ref().map_or("", TeamId::as_str))
        .bind(&record.name)
        .bind(i64::from(record.version))
        .bind(json(&record.spec)?)
        .bind(image.uri.as_deref())
        .bind(image.manifest.as_str())
        .bind(json(&image.config)?)
        .bind(image.digest.as_ref().map(Digest::as_str))
        .bind(record.serving.as_ref().map(json).transpose()?)
        .bind(record.state.as_str())
        .bind(record.failure.as_ref().map(json).transpose()?)
        .bind(record.pull as i64)
        .bind(sealed.map(|sealed| sealed.text.as_str()))
        .bind(sealed.map(|sealed| sealed.kind.as_str()))
        .bind(record.created_at_ms)
        .bind(record.updated_at_ms)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection, raw_sql};
    use wire::public::team::{OwnLimits, defaults::LIMITS};

    use super::*;
    use crate::templates::example::{digest, fresh};

    async fn store(dir: &tempfile::TempDir, teams: &[(&TeamId, &str)]) -> Store {
        let store = Store::open(dir.path()).await.unwrap();
        for (team, name) in teams {
            store.add_team(team, name, &OwnLimits::default(), 1).await.unwrap();
        }
        store
    }

    fn team(byte: u8) -> TeamId {
        TeamId::from_entropy([byte; 20])
    }

    /// A template of this team with this name; the byte makes its id.
    fn named(byte: u8, owner: &TeamId, scope: Scope, name: &str) -> TemplateRecord {
        let id = TemplateId::from_entropy([byte; 20]);
        TemplateRecord { id, team: Some(owner.clone()), scope, name: name.into(), ..fresh() }
    }

    #[tokio::test]
    async fn a_record_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let owner = team(1);
        let store = store(&dir, &[(&owner, "a")]).await;
        let spec = serde_json::json!({"vcpu": 2, "env_vars": {"A": "b"}, "sandbox0": {"tags": ["x"]}});
        let mut record = named(1, &owner, Scope::Team, "t");
        record.spec = serde_json::from_value(spec).unwrap();
        record.credentials = Some(Sealed { kind: "basic".into(), text: "x1:k:AAAA".into() });
        record.serving = Some(Image { digest: Some(digest(7)), ..record.image.clone() });
        store.add_template(&record, &LIMITS).await.unwrap();
        assert_eq!(store.any_template(&record.id).await.unwrap().unwrap(), record);
        let change = |record: &mut TemplateRecord| Ok(record.pulled(1, Ok(digest(9))));
        let (changed, _) = store.change_template(&record.id, change).await.unwrap().unwrap();
        assert_eq!(store.any_template(&record.id).await.unwrap().unwrap(), changed);
        assert_eq!(store.images_in_use().await.unwrap(), [digest(9)]);
        store.reseal(&record.id, "x1:other:AAAA", "x1:k2:BBBB").await.unwrap();
        store.reseal(&record.id, "x1:k:AAAA", "x1:k3:CCCC").await.unwrap();
        let resealed = store.templates_with_credentials().await.unwrap().remove(0);
        assert_eq!(resealed.credentials.unwrap().text, "x1:k3:CCCC");
    }

    #[tokio::test]
    async fn a_name_means_ones_own_template_before_a_public_one_and_that_before_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (team(1), team(2));
        let store = store(&dir, &[(&a, "a"), (&b, "b")]).await;
        let ours = TemplateId::from_entropy([9; 20]);
        store.put_system_template(&ours, "x", &digest(1), &ImageConfig::default(), 1).await.unwrap();
        let means = async |team: &TeamId| store.template_by_name(team, "x").await.unwrap().unwrap().id;
        assert_eq!(means(&a).await, ours);
        let public = named(1, &b, Scope::Public, "x");
        store.add_template(&public, &LIMITS).await.unwrap();
        assert_eq!((means(&a).await, means(&b).await), (public.id.clone(), public.id.clone()));
        let own = named(2, &a, Scope::Team, "x");
        store.add_template(&own, &LIMITS).await.unwrap();
        assert_eq!((means(&a).await, means(&b).await), (own.id.clone(), public.id.clone()));
        assert!(store.template(&b, &own.id).await.unwrap().is_none());
        assert!(store.template(&a, &public.id).await.unwrap().is_some());
        assert_eq!(store.templates(&a, 10).await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn no_two_can_have_one_name_where_it_would_mean_both() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (team(1), team(2));
        let store = store(&dir, &[(&a, "a"), (&b, "b")]).await;
        let add = async |record: &TemplateRecord| match store.add_template(record, &LIMITS).await {
            Err(Error::AlreadyExists { .. }) => false,
            added => added.map(|()| true).unwrap(),
        };
        assert!(add(&named(1, &a, Scope::Team, "x")).await);
        assert!(!add(&named(2, &a, Scope::Public, "x")).await);
        assert!(add(&named(3, &b, Scope::Public, "x")).await);
        assert!(add(&named(4, &a, Scope::Team, "y")).await);
        let rename = async |name: &'static str, scope| {
            let change = move |record: &mut TemplateRecord| {
                (record.name, record.scope) = (name.into(), scope);
                Ok(true)
            };
            store.change_template(&TemplateId::from_entropy([4; 20]), change).await.is_ok()
        };
        assert!(!rename("x", Scope::Team).await);
        assert!(rename("z", Scope::Public).await);
        assert!(rename("z", Scope::Team).await);
    }

    #[tokio::test]
    async fn a_rebuilt_template_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let team = team(1);
        let store = store(&dir, &[]).await;
        let (one, two) = (TemplateId::from_entropy([1; 20]), TemplateId::from_entropy([2; 20]));
        let config = ImageConfig { working_dir: "/workspace".into(), ..ImageConfig::default() };
        store.put_system_template(&one, "system/x", &digest(1), &ImageConfig::default(), 10).await.unwrap();
        for _ in 0..2 {
            store.put_system_template(&two, "system/x", &digest(2), &config, 20).await.unwrap();
            let found = store.template_by_name(&team, "system/x").await.unwrap().unwrap();
            assert_eq!((found.id.clone(), found.version, found.created_at_ms), (one.clone(), 2, 10));
            assert_eq!((found.image.digest, found.image.config), (Some(digest(2)), config.clone()));
        }
        assert!(store.template(&team, &one).await.unwrap().is_some());
        assert!(store.template(&team, &two).await.unwrap().is_none());
        assert_eq!(store.templates(&team, 10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_was_built_before_there_were_others_is_still_there() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let insert = "INSERT INTO templates VALUES ('t', 'system', '', 'system/x', 'sha256:1', '{}', 5, 6)";
        for sql in [
            include_str!("../../migrations/sqlite/0001_first_light.sql"),
            insert,
            include_str!("../../migrations/sqlite/0004_templates.sql"),
        ] {
            raw_sql(sql).execute(&mut connection).await.unwrap();
        }
        let sql = "SELECT name, manifest_digest, digest, state, version FROM templates";
        let all: Vec<(String, String, String, String, i64)> =
            sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
        assert_eq!(all, [("system/x".into(), "sha256:1".into(), "sha256:1".into(), "ready".into(), 1)]);
    }
}
