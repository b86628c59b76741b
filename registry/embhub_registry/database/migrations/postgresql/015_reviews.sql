-- Releases that need approval: what was pushed is kept apart from the commits that everybody reads, until enough approvers
-- of the namespace have approved its digest. `name` is '' for a whole namespace, else a repository's name as it is
-- compared (lower case, `.` and `_` as `-`), so that the rule outlives a repository that is deleted and made again.
CREATE TABLE review_rule (
    namespace TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    approvals BIGINT NOT NULL CHECK (approvals BETWEEN 1 AND 2),
    author TEXT COLLATE "C" NOT NULL,
    changed TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (namespace, name)
);

-- `digest` covers every file; it never changes. Of a proposal that was decided, its files are gone from `proposal_file`.
CREATE TABLE proposal (
    id TEXT COLLATE "C" PRIMARY KEY,
    repository_id BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    branch TEXT COLLATE "C" NOT NULL,
    parent TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C",
    author TEXT COLLATE "C" NOT NULL,
    author_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    caller TEXT COLLATE "C" NOT NULL,
    admin BIGINT NOT NULL,
    title TEXT COLLATE "C" NOT NULL,
    message TEXT COLLATE "C" NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    needed BIGINT NOT NULL,
    not_before TEXT COLLATE "C",
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('open', 'published', 'declined', 'replaced')),
    decided TEXT COLLATE "C",
    decided_by TEXT COLLATE "C",
    reason TEXT COLLATE "C" NOT NULL DEFAULT '',
    revision_id TEXT COLLATE "C"
);
CREATE UNIQUE INDEX proposal_open ON proposal (repository_id, branch, author_id) WHERE state = 'open';
CREATE INDEX proposal_repository ON proposal (repository_id, created);

CREATE TABLE proposal_file (
    proposal_id TEXT COLLATE "C" NOT NULL REFERENCES proposal (id) ON DELETE CASCADE,
    path TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL REFERENCES blob (digest),
    PRIMARY KEY (proposal_id, path)
);
CREATE INDEX proposal_file_digest ON proposal_file (digest);

-- `kind`: signed by the approver's own key, or clicked in the registry's page and attested by the registry alone.
CREATE TABLE approval (
    proposal_id TEXT COLLATE "C" NOT NULL REFERENCES proposal (id) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    approver TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('signed', 'registry')),
    fingerprint TEXT COLLATE "C" NOT NULL,
    bundle BYTEA,
    PRIMARY KEY (proposal_id, user_id)
);
