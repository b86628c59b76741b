-- All mutable state of a registry. Times are UTC, ISO 8601 with milliseconds, so that text order is time order.

CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE namespace (name TEXT PRIMARY KEY, created TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE user (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL REFERENCES namespace (name),
    role TEXT NOT NULL CHECK (role IN ('reader', 'publisher', 'auditor', 'approver', 'admin')),
    created TEXT NOT NULL
) STRICT;

-- The token itself is never stored: SHA-256 of 256 random bits cannot be guessed back.
CREATE TABLE token (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    user_id INTEGER NOT NULL REFERENCES user (id),
    created TEXT NOT NULL,
    expires TEXT,
    revoked TEXT,
    last_used TEXT
) STRICT;

CREATE TABLE keyring (version INTEGER PRIMARY KEY, envelope BLOB NOT NULL, created TEXT NOT NULL) STRICT;

CREATE TABLE blob (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    git_oid TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE repository (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL REFERENCES namespace (name),
    name TEXT NOT NULL,
    private INTEGER NOT NULL DEFAULT 0,
    created TEXT NOT NULL,
    modified TEXT NOT NULL,
    downloads INTEGER NOT NULL DEFAULT 0,
    summary TEXT NOT NULL DEFAULT '{}',
    UNIQUE (namespace, name)
) STRICT;

-- Two names that differ only by case would be one folder on some sites' disks.
CREATE UNIQUE INDEX repository_folded ON repository (namespace, lower(name));
CREATE INDEX repository_modified ON repository (modified DESC, id DESC);

CREATE TABLE revision (
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    parent TEXT,
    author TEXT NOT NULL,
    created TEXT NOT NULL,
    title TEXT NOT NULL,
    message TEXT NOT NULL,
    release_version TEXT,
    PRIMARY KEY (repository_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE entry (
    repository_id INTEGER NOT NULL,
    revision_id TEXT NOT NULL,
    path TEXT NOT NULL,
    digest TEXT NOT NULL REFERENCES blob (digest),
    PRIMARY KEY (repository_id, revision_id, path),
    FOREIGN KEY (repository_id, revision_id) REFERENCES revision (repository_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX entry_digest ON entry (digest);

CREATE TABLE ref (
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('branch', 'tag')),
    name TEXT NOT NULL,
    revision_id TEXT NOT NULL,
    PRIMARY KEY (repository_id, kind, name),
    FOREIGN KEY (repository_id, revision_id) REFERENCES revision (repository_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE repository_tag (
    tag TEXT NOT NULL,
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    PRIMARY KEY (tag, repository_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX repository_tag_repository ON repository_tag (repository_id);

-- Trigrams, so that the Hub's substring search is an index look-up.
CREATE VIRTUAL TABLE search USING fts5 (text, tokenize = 'trigram');
