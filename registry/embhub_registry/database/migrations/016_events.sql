-- Workloads that publish without a person, webhooks and mail with their outbox, people who have left, and the address
-- from which a login was begun.

-- A rule: tokens of this issuer with these claims may publish in this one repository. The account is the rule's own.
CREATE TABLE trusted_publisher (
    id TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    namespace TEXT NOT NULL REFERENCES namespace (name),
    repository TEXT NOT NULL,
    issuer TEXT NOT NULL,
    audience TEXT NOT NULL,
    claims TEXT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'publish')),
    created TEXT NOT NULL,
    created_by TEXT NOT NULL,
    ended TEXT
) STRICT;

CREATE INDEX trusted_publisher_repository ON trusted_publisher (repository, issuer);
CREATE INDEX trusted_publisher_user ON trusted_publisher (user_id);

-- A workload's token counts once: SHA-256 of its issuer and `jti`, until it is over.
CREATE TABLE workload_token_seen (
    digest BLOB PRIMARY KEY,
    expires TEXT NOT NULL
) STRICT;

-- NAMESPACE/NAME of the only repository that an access token is good for; NULL for all of its account's.
ALTER TABLE token ADD COLUMN only_repository TEXT;

ALTER TABLE login_attempt ADD COLUMN address TEXT NOT NULL DEFAULT '';
CREATE INDEX login_attempt_address ON login_attempt (address, expires);

-- Where an account wants to be told of a namespace's events. `secret` is encrypted with a key outside the database.
CREATE TABLE webhook (
    id TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    namespace TEXT NOT NULL REFERENCES namespace (name),
    url TEXT NOT NULL,
    secret BLOB NOT NULL,
    kinds TEXT NOT NULL,
    created TEXT NOT NULL,
    delivered TEXT,
    failing_since TEXT,
    disabled TEXT,
    problem TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX webhook_namespace ON webhook (namespace);
CREATE INDEX webhook_user ON webhook (user_id);

-- The outbox: what happened, written in the transaction in which it happened, and to whom it is still to be told.
CREATE TABLE event (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    repository TEXT NOT NULL,
    private INTEGER NOT NULL,
    created TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;

CREATE TABLE delivery (
    id TEXT PRIMARY KEY,
    event_id TEXT NOT NULL REFERENCES event (id) ON DELETE CASCADE,
    webhook_id TEXT REFERENCES webhook (id) ON DELETE CASCADE,
    user_id INTEGER REFERENCES user (id) ON DELETE CASCADE,
    attempts INTEGER NOT NULL DEFAULT 0,
    due TEXT NOT NULL,
    leased TEXT NOT NULL DEFAULT '',
    CHECK ((webhook_id IS NULL) <> (user_id IS NULL))
) STRICT;

CREATE INDEX delivery_due ON delivery (due);
CREATE INDEX delivery_event ON delivery (event_id);
CREATE INDEX delivery_webhook ON delivery (webhook_id);
CREATE INDEX delivery_user ON delivery (user_id);

ALTER TABLE user ADD COLUMN mail TEXT NOT NULL DEFAULT '';
ALTER TABLE user ADD COLUMN mail_kinds TEXT NOT NULL DEFAULT 'access.requested access.decided review.requested review.decided';

-- Accounts that have left; those whose name was erased, so that nobody else appears under it.
ALTER TABLE user ADD COLUMN left_at TEXT;
CREATE TABLE erased_name (
    digest BLOB PRIMARY KEY,
    erased TEXT NOT NULL
) STRICT;

-- Lists are narrowed by the claimed epsilon too: releases that are there get `none`, or `earlier` where they claim one.
INSERT OR IGNORE INTO label
SELECT
    'epsilon', CASE WHEN summary ->> '$.release.privacy' = 'none' THEN 'none' ELSE 'earlier' END, position, id,
    private = 0 AND released = 1 AND hidden = 0
FROM repository WHERE released = 1 AND (summary ->> '$.release.privacy') IS NOT NULL;
UPDATE repository SET facets = facets || char(30) || 'epsilon' || char(31)
    || CASE WHEN summary ->> '$.release.privacy' = 'none' THEN 'none' ELSE 'earlier' END
WHERE released = 1 AND facets <> '' AND (summary ->> '$.release.privacy') IS NOT NULL;
