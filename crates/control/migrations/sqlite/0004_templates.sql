-- Templates of teams: an image that comes from elsewhere, and may not be here yet.

-- `digest` is the root file system on a node, and NULL until there is one; `manifest_digest` is what users see. Where the
-- image was changed, `serving` is the one before, as JSON, until the new one is here. `pull` counts how often an image was
-- wanted: what becomes of an older pull is nobody's concern. `credentials` are sealed, and open with a key that is not here.
-- `team_id` is empty for templates of the scope `system`, and the owner's for those of `team` and `public`.
CREATE TABLE templates_new (
    id TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    team_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    spec TEXT NOT NULL,
    uri TEXT,
    manifest_digest TEXT NOT NULL,
    image_config TEXT NOT NULL,
    digest TEXT,
    serving TEXT,
    state TEXT NOT NULL,
    failure TEXT,
    pull BIGINT NOT NULL,
    credentials TEXT,
    credentials_kind TEXT,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL
);

INSERT INTO templates_new
SELECT id, scope, team_id, name, 1, '{}', NULL, digest, image_config, digest, NULL, 'ready', NULL, 0, NULL, NULL,
       created_at_ms, updated_at_ms
FROM templates;

DROP TABLE templates;
ALTER TABLE templates_new RENAME TO templates;

-- A team means one template by a name, whoever else sees it; and so does everybody by a public one's.
CREATE UNIQUE INDEX templates_of_team ON templates (team_id, name);
CREATE UNIQUE INDEX templates_of_all ON templates (name) WHERE scope = 'public';
CREATE INDEX templates_coming ON templates (updated_at_ms) WHERE state = 'pulling';
