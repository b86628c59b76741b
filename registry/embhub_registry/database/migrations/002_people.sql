-- People and operation: memberships, token scopes, quotas, yanks, tombstones, purges, the head of the audit log.

-- What an account may do, namespace by namespace; `user.namespace` stays as the one it publishes in by default.
CREATE TABLE membership (
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    namespace TEXT NOT NULL REFERENCES namespace (name),
    role TEXT NOT NULL CHECK (role IN ('reader', 'publisher', 'auditor', 'approver', 'admin')),
    created TEXT NOT NULL,
    PRIMARY KEY (user_id, namespace)
) STRICT, WITHOUT ROWID;

INSERT INTO membership SELECT id, namespace, role, created FROM user;
ALTER TABLE user DROP COLUMN role;
ALTER TABLE user ADD COLUMN disabled TEXT;

ALTER TABLE token ADD COLUMN scope TEXT NOT NULL DEFAULT 'publish' CHECK (scope IN ('read', 'publish', 'admin'));
ALTER TABLE token ADD COLUMN unlimited INTEGER NOT NULL DEFAULT 0;
UPDATE token SET scope = 'admin' WHERE user_id IN (SELECT user_id FROM membership WHERE role = 'admin');
UPDATE token SET scope = 'read'
WHERE user_id NOT IN (SELECT user_id FROM membership WHERE role <> 'reader');

-- NULL: the registry's own setting holds.
ALTER TABLE namespace ADD COLUMN max_bytes INTEGER;
ALTER TABLE namespace ADD COLUMN max_repositories INTEGER;
ALTER TABLE namespace ADD COLUMN max_releases INTEGER;

-- A version or one commit that is no longer recommended. The bytes stay, so that what was pulled can be checked.
CREATE TABLE yank (
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('version', 'revision')),
    which TEXT NOT NULL,
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    created TEXT NOT NULL,
    PRIMARY KEY (repository_id, kind, which)
) STRICT, WITHOUT ROWID;

-- What was deleted, by whom and why; the name is not given out again by accident.
CREATE TABLE tombstone (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    private INTEGER NOT NULL,
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    created TEXT NOT NULL,
    releases TEXT NOT NULL,
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX tombstone_folded ON tombstone (namespace, lower(name));

-- Bytes that nothing names any more: to be removed at `due`, removed at `purged`. Kept as proof, `check` reads it.
CREATE TABLE purge (
    digest TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    due TEXT NOT NULL,
    purged TEXT
) STRICT, WITHOUT ROWID;

-- Where the audit log ends and, once old segments were pruned, where it begins: one row.
CREATE TABLE audit_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL,
    digest TEXT NOT NULL,
    segment TEXT NOT NULL,
    size INTEGER NOT NULL,
    first_number INTEGER NOT NULL,
    first_previous TEXT NOT NULL
) STRICT;
