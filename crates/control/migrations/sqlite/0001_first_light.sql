-- Ids are TEXT, times BIGINT milliseconds since the Unix epoch, structures JSON in TEXT:
-- the same columns serve PostgreSQL.

CREATE TABLE teams (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

-- A key itself is never stored: `hash` is HMAC-SHA-256 with a secret kept beside the database.
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    team_id TEXT NOT NULL REFERENCES teams (id),
    hash TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

-- `team_id` is empty for templates of the scope `system`.
CREATE TABLE templates (
    id TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    team_id TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    image_config TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    UNIQUE (scope, team_id, name)
);

CREATE TABLE sandboxes (
    id TEXT PRIMARY KEY,
    team_id TEXT NOT NULL REFERENCES teams (id),
    template_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    desired TEXT NOT NULL,
    observed TEXT NOT NULL,
    generation BIGINT NOT NULL,
    vcpu BIGINT NOT NULL,
    memory_mib BIGINT NOT NULL,
    spec TEXT NOT NULL,
    network_policy TEXT,
    end_reason TEXT,
    end_detail TEXT,
    failure TEXT,
    timeout_at_ms BIGINT,
    created_at_ms BIGINT NOT NULL,
    launched_at_ms BIGINT,
    state_changed_at_ms BIGINT NOT NULL,
    deleted_at_ms BIGINT
);

CREATE INDEX sandboxes_of_team ON sandboxes (team_id, created_at_ms);
CREATE INDEX sandboxes_on_node ON sandboxes (node_id, observed);
CREATE INDEX sandboxes_deleted ON sandboxes (deleted_at_ms);

-- Which sandbox a create with this key made, so that a repeat answers with the same one.
CREATE TABLE idempotency (
    team_id TEXT NOT NULL REFERENCES teams (id),
    key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    sandbox_id TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (team_id, key)
);

CREATE INDEX idempotency_age ON idempotency (created_at_ms);

-- One row, written by the readiness check.
CREATE TABLE readiness (
    id BIGINT PRIMARY KEY,
    checked_at_ms BIGINT NOT NULL
);
