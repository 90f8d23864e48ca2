-- Snapshots that teams have names for.

-- `root` is what nodes call it, and NULL while it is being taken. `ends` says that its sandbox ends with it: then it is
-- not given up before that is known to be gone without one. `spec` is what sandboxes are made of that go on from it.
CREATE TABLE snapshots (
    id TEXT PRIMARY KEY,
    team_id TEXT NOT NULL,
    name TEXT NOT NULL,
    sandbox_id TEXT NOT NULL,
    template_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    ends BOOLEAN NOT NULL,
    root TEXT,
    bytes BIGINT NOT NULL,
    spec TEXT NOT NULL,
    network_policy TEXT,
    created_at_ms BIGINT NOT NULL
);

CREATE UNIQUE INDEX snapshots_by_name ON snapshots (team_id, name);
CREATE UNIQUE INDEX snapshots_by_root ON snapshots (root) WHERE root IS NOT NULL;
CREATE INDEX snapshots_by_sandbox ON snapshots (sandbox_id) WHERE root IS NULL;
