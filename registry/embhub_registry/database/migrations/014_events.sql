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
