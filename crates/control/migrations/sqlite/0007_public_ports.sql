-- The ports that a sandbox's owner opened to whoever asks, as a list in JSON.
ALTER TABLE sandboxes ADD COLUMN public_ports TEXT NOT NULL DEFAULT '[]';
