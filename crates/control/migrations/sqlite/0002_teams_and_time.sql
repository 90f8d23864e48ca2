-- Names, ends and uses of keys; limits of teams; labels of sandboxes; ends that were asked for.

-- The limits that were set for this team, as JSON; what is absent is the configuration's.
ALTER TABLE teams ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
CREATE UNIQUE INDEX teams_by_name ON teams (name);

ALTER TABLE keys ADD COLUMN name TEXT NOT NULL DEFAULT 'first';
ALTER TABLE keys ADD COLUMN expires_at_ms BIGINT;
ALTER TABLE keys ADD COLUMN last_used_at_ms BIGINT;
CREATE INDEX keys_of_team ON keys (team_id, created_at_ms);

-- An object of strings with its names sorted: lists look for a piece of it.
ALTER TABLE sandboxes ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
-- When it is to end, where that was asked for after it was made.
ALTER TABLE sandboxes ADD COLUMN ends_at_ms BIGINT;
-- The newest generation its node was heard to have seen.
ALTER TABLE sandboxes ADD COLUMN seen_generation BIGINT NOT NULL DEFAULT 0;
UPDATE sandboxes SET seen_generation = generation;
