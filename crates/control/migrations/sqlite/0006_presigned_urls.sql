-- URLs that open one port of one sandbox without a key. A token itself is never stored: `hash` is, as of keys,
-- HMAC-SHA-256 with the secret beside the database. They go with their sandbox.
CREATE TABLE presigned_urls (
    id TEXT PRIMARY KEY,
    sandbox_id TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
    hash TEXT NOT NULL UNIQUE,
    port BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);

CREATE INDEX presigned_urls_of_sandbox ON presigned_urls (sandbox_id, created_at_ms);
