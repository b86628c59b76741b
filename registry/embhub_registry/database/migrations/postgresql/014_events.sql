-- Workloads that publish without a person, webhooks and mail with their outbox, people who have left, and the address
-- from which a login was begun.

-- A rule: tokens of this issuer with these claims may publish in this one repository. The account is the rule's own.
CREATE TABLE trusted_publisher (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    namespace TEXT COLLATE "C" NOT NULL REFERENCES namespace (name),
    repository TEXT COLLATE "C" NOT NULL,
    issuer TEXT COLLATE "C" NOT NULL,
    audience TEXT COLLATE "C" NOT NULL,
    claims TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL CHECK (scope IN ('read', 'publish')),
    created TEXT COLLATE "C" NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    ended TEXT COLLATE "C"
);

CREATE INDEX trusted_publisher_repository ON trusted_publisher (repository, issuer);
CREATE INDEX trusted_publisher_user ON trusted_publisher (user_id);

-- A workload's token counts once: SHA-256 of its issuer and `jti`, until it is over.
CREATE TABLE workload_token_seen (
    digest BYTEA PRIMARY KEY,
    expires TEXT COLLATE "C" NOT NULL
);

-- NAMESPACE/NAME of the only repository that an access token is good for; NULL for all of its account's.
ALTER TABLE token ADD COLUMN only_repository TEXT COLLATE "C";

ALTER TABLE login_attempt ADD COLUMN address TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX login_attempt_address ON login_attempt (address, expires);
