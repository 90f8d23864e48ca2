//! Templates.

use sqlx::FromRow;
use wire::id::{TeamId, TemplateId};
use wire::image::{Digest, ImageConfig};

use super::{Store, Within, json, parse};
use crate::error::Result;

/// The scope of templates we ship the recipe of; every team sees them.
const SYSTEM: &str = "system";

/// What the store says of one template.
#[derive(Debug, Clone)]
pub struct TemplateRecord {
    /// Which.
    pub id: TemplateId,
    /// Its name.
    pub name: String,
    /// Its image.
    pub digest: Digest,
    /// How the image's processes run.
    pub image_config: ImageConfig,
    /// Whether it is ours.
    pub is_system: bool,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
}

#[derive(FromRow)]
struct Row {
    id: String,
    scope: String,
    name: String,
    digest: String,
    image_config: String,
    created_at_ms: i64,
}

impl TryFrom<Row> for TemplateRecord {
    type Error = crate::error::Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: parse(&row.id, row.id.parse())?,
            digest: parse(&row.id, row.digest.parse())?,
            image_config: parse(&row.id, serde_json::from_str(&row.image_config))?,
            is_system: row.scope == SYSTEM,
            name: row.name,
            created_at_ms: row.created_at_ms,
        })
    }
}

impl Store {
    /// The template this team means by a name.
    pub async fn template_by_name(&self, team: &TeamId, name: &str) -> Result<Option<TemplateRecord>> {
        let sql = "SELECT id, scope, name, digest, image_config, created_at_ms FROM templates \
                   WHERE name = $1 AND (scope = 'system' OR team_id = $2)";
        let row: Option<Row> =
            sqlx::query_as(sql).bind(name).bind(team.as_str()).fetch_optional(&self.readers).within().await?;
        row.map(TemplateRecord::try_from).transpose()
    }

    /// The template with this id, if the team may see it.
    pub async fn template(&self, team: &TeamId, id: &TemplateId) -> Result<Option<TemplateRecord>> {
        let sql = "SELECT id, scope, name, digest, image_config, created_at_ms FROM templates \
                   WHERE id = $1 AND (scope = 'system' OR team_id = $2)";
        let row: Option<Row> = sqlx::query_as(sql)
            .bind(id.as_str())
            .bind(team.as_str())
            .fetch_optional(&self.readers)
            .within()
            .await?;
        row.map(TemplateRecord::try_from).transpose()
    }

    /// Every template the team may see, by name; so many at most.
    pub async fn templates(&self, team: &TeamId, max: u32) -> Result<Vec<TemplateRecord>> {
        let sql = "SELECT id, scope, name, digest, image_config, created_at_ms FROM templates \
                   WHERE scope = 'system' OR team_id = $1 ORDER BY name LIMIT $2";
        let rows: Vec<Row> = sqlx::query_as(sql)
            .bind(team.as_str())
            .bind(i64::from(max))
            .fetch_all(&self.readers)
            .within()
            .await?;
        rows.into_iter().map(TemplateRecord::try_from).collect()
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
        let sql = "INSERT INTO templates \
                   (id, scope, team_id, name, digest, image_config, created_at_ms, updated_at_ms) \
                   VALUES ($1, 'system', '', $2, $3, $4, $5, $5) \
                   ON CONFLICT (scope, team_id, name) DO UPDATE SET digest = excluded.digest, \
                   image_config = excluded.image_config, updated_at_ms = excluded.updated_at_ms";
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_rebuilt_template_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let team = TeamId::from_entropy([1; 20]);
        let (one, two) = (TemplateId::from_entropy([1; 20]), TemplateId::from_entropy([2; 20]));
        let config = ImageConfig { working_dir: "/workspace".into(), ..ImageConfig::default() };
        let digest = |byte| Digest::from_sha256([byte; 32]);
        store.put_system_template(&one, "system/x", &digest(1), &ImageConfig::default(), 10).await.unwrap();
        store.put_system_template(&two, "system/x", &digest(2), &config, 20).await.unwrap();
        let found = store.template_by_name(&team, "system/x").await.unwrap().unwrap();
        assert_eq!((found.id.clone(), found.digest, found.created_at_ms), (one.clone(), digest(2), 10));
        assert_eq!(found.image_config, config);
        assert!(store.template(&team, &one).await.unwrap().is_some());
        assert!(store.template(&team, &two).await.unwrap().is_none());
        assert_eq!(store.templates(&team, 10).await.unwrap().len(), 1);
    }
}
