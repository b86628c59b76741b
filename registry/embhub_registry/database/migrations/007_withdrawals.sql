-- What was withdrawn stays withdrawn: a yank has a scope and an authority, which decides who may lift it. A publisher's
-- and the operator's stand side by side. What earlier releases noted counts as before, for the release alone.
CREATE TABLE yank_with_scope (
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('version', 'revision')),
    which TEXT NOT NULL,
    authority TEXT NOT NULL CHECK (authority IN ('publisher', 'operator')),
    scope TEXT NOT NULL CHECK (scope IN ('release', 'bytes')),
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    created TEXT NOT NULL,
    PRIMARY KEY (repository_id, kind, which, authority)
) STRICT, WITHOUT ROWID;
INSERT INTO yank_with_scope
SELECT repository_id, kind, which,
    CASE WHEN author = 'operator' OR EXISTS (
        SELECT 1 FROM user JOIN membership ON user_id = user.id WHERE user.name = yank.author AND role = 'admin'
    ) THEN 'operator' ELSE 'publisher' END,
    'release', reason, author, created
FROM yank;
DROP TABLE yank;
ALTER TABLE yank_with_scope RENAME TO yank;

-- Every withdrawal of a release or of an embedding's bytes, as the advisories tell it. Rows are lifted, never removed;
-- those of a deleted repository stay, without its id. `private` is how the repository was when it was deleted.
CREATE TABLE withdrawal (
    number INTEGER PRIMARY KEY,
    repository_id INTEGER,
    repository TEXT NOT NULL,
    namespace TEXT NOT NULL,
    version TEXT NOT NULL,
    digest TEXT NOT NULL,
    private INTEGER NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('release', 'bytes')),
    authority TEXT NOT NULL CHECK (authority IN ('publisher', 'operator', 'key-stolen')),
    reason TEXT NOT NULL,
    created TEXT NOT NULL,
    lifted TEXT
) STRICT;
CREATE INDEX withdrawal_digest ON withdrawal (digest);
CREATE INDEX withdrawal_repository ON withdrawal (repository_id);

-- Commits that hold a release whose only good signature was made by a key that was stolen.
CREATE TABLE forgeable (
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    revision_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    stolen TEXT NOT NULL,
    PRIMARY KEY (repository_id, revision_id)
) STRICT, WITHOUT ROWID;

-- The advisories that are served: one row. `content` is the SHA-256 of what they say, so that a number means one text.
CREATE TABLE advisory_feed (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL,
    content TEXT NOT NULL,
    envelope BLOB NOT NULL
) STRICT;
