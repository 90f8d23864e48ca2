-- What became of sandboxes. Ids grow in the order of commits and are never given twice, so that whoever has seen one
-- can go on after it, also when it has been removed. (PostgreSQL: BIGINT GENERATED ALWAYS AS IDENTITY.)
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    team_id TEXT NOT NULL REFERENCES teams (id),
    sandbox_id TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    detail TEXT,
    at_ms BIGINT NOT NULL
);

CREATE INDEX events_of_team ON events (team_id, id);
CREATE INDEX events_of_sandbox ON events (sandbox_id, id);
CREATE INDEX events_age ON events (at_ms);

-- Of what was there before there were events, the last change is known.
INSERT INTO events (team_id, sandbox_id, state, reason, detail, at_ms)
SELECT team_id, id, observed, end_reason, end_detail, state_changed_at_ms FROM sandboxes ORDER BY state_changed_at_ms, id;
