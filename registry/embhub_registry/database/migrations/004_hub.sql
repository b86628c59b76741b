-- Gated repositories: everybody sees that they are there and their card, files go to whom their publisher lets in.
-- A disabled one was taken out of circulation by an admin: its files go to nobody else.
ALTER TABLE repository ADD COLUMN gated TEXT NOT NULL DEFAULT '' CHECK (gated IN ('', 'auto', 'manual'));
ALTER TABLE repository ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;

CREATE TABLE access (
    id TEXT PRIMARY KEY,
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    status TEXT NOT NULL CHECK (status IN ('pending', 'accepted', 'rejected')),
    requested TEXT NOT NULL,
    decided TEXT,
    decided_by TEXT,
    reason TEXT NOT NULL DEFAULT '',
    UNIQUE (repository_id, user_id)
) STRICT;
CREATE INDEX access_user ON access (user_id);

-- Stock clients filter by task and library as by any tag.
INSERT OR IGNORE INTO label
SELECT 'tag', summary ->> '$.front_matter.pipeline_tag', position, id, private = 0 AND released = 1 AND hidden = 0
FROM repository WHERE json_type(summary, '$.front_matter.pipeline_tag') = 'text';
INSERT OR IGNORE INTO label
SELECT 'tag', summary ->> '$.front_matter.library_name', position, id, private = 0 AND released = 1 AND hidden = 0
FROM repository WHERE json_type(summary, '$.front_matter.library_name') = 'text';
