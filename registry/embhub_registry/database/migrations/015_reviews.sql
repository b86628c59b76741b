-- Releases that need approval: what was pushed is kept apart from the commits that everybody reads, until enough approvers
-- of the namespace have approved its digest. `name` is '' for a whole namespace, else a repository's name as it is
-- compared (lower case, `.` and `_` as `-`), so that the rule outlives a repository that is deleted and made again.
CREATE TABLE review_rule (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    approvals INTEGER NOT NULL CHECK (approvals BETWEEN 1 AND 2),
    author TEXT NOT NULL,
    changed TEXT NOT NULL,
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;

-- `digest` covers every file; it never changes. Of a proposal that was decided, its files are gone from `proposal_file`.
CREATE TABLE proposal (
    id TEXT PRIMARY KEY,
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    branch TEXT NOT NULL,
    parent TEXT NOT NULL,
    digest TEXT NOT NULL,
    version TEXT,
    author TEXT NOT NULL,
    author_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    caller TEXT NOT NULL,
    admin INTEGER NOT NULL,
    title TEXT NOT NULL,
    message TEXT NOT NULL,
    created TEXT NOT NULL,
    needed INTEGER NOT NULL,
    not_before TEXT,
    state TEXT NOT NULL CHECK (state IN ('open', 'published', 'declined', 'replaced')),
    decided TEXT,
    decided_by TEXT,
    reason TEXT NOT NULL DEFAULT '',
    revision_id TEXT
) STRICT;
CREATE UNIQUE INDEX proposal_open ON proposal (repository_id, branch, author_id) WHERE state = 'open';
CREATE INDEX proposal_repository ON proposal (repository_id, created);

CREATE TABLE proposal_file (
    proposal_id TEXT NOT NULL REFERENCES proposal (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    digest TEXT NOT NULL REFERENCES blob (digest),
    PRIMARY KEY (proposal_id, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX proposal_file_digest ON proposal_file (digest);

-- `kind`: signed by the approver's own key, or clicked in the registry's page and attested by the registry alone.
CREATE TABLE approval (
    proposal_id TEXT NOT NULL REFERENCES proposal (id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    approver TEXT NOT NULL,
    digest TEXT NOT NULL,
    created TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('signed', 'registry')),
    fingerprint TEXT NOT NULL,
    bundle BLOB,
    PRIMARY KEY (proposal_id, user_id)
) STRICT, WITHOUT ROWID;
