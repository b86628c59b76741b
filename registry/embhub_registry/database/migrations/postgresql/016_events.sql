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

-- Where an account wants to be told of a namespace's events. `secret` is encrypted with a key outside the database.
CREATE TABLE webhook (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    namespace TEXT COLLATE "C" NOT NULL REFERENCES namespace (name),
    url TEXT COLLATE "C" NOT NULL,
    secret BYTEA NOT NULL,
    kinds TEXT COLLATE "C" NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    delivered TEXT COLLATE "C",
    failing_since TEXT COLLATE "C",
    disabled TEXT COLLATE "C",
    problem TEXT COLLATE "C" NOT NULL DEFAULT ''
);

CREATE INDEX webhook_namespace ON webhook (namespace);
CREATE INDEX webhook_user ON webhook (user_id);

-- The outbox: what happened, written in the transaction in which it happened, and to whom it is still to be told.
CREATE TABLE event (
    id TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    private BIGINT NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    data TEXT COLLATE "C" NOT NULL
);

CREATE TABLE delivery (
    id TEXT COLLATE "C" PRIMARY KEY,
    event_id TEXT COLLATE "C" NOT NULL REFERENCES event (id) ON DELETE CASCADE,
    webhook_id TEXT COLLATE "C" REFERENCES webhook (id) ON DELETE CASCADE,
    user_id BIGINT REFERENCES "user" (id) ON DELETE CASCADE,
    attempts BIGINT NOT NULL DEFAULT 0,
    due TEXT COLLATE "C" NOT NULL,
    leased TEXT COLLATE "C" NOT NULL DEFAULT '',
    CHECK ((webhook_id IS NULL) <> (user_id IS NULL))
);

CREATE INDEX delivery_due ON delivery (due);
CREATE INDEX delivery_event ON delivery (event_id);
CREATE INDEX delivery_webhook ON delivery (webhook_id);
CREATE INDEX delivery_user ON delivery (user_id);

ALTER TABLE "user" ADD COLUMN mail TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE "user" ADD COLUMN mail_kinds TEXT COLLATE "C" NOT NULL DEFAULT 'access.requested access.decided review.requested review.decided';

-- Accounts that have left; those whose name was erased, so that nobody else appears under it.
ALTER TABLE "user" ADD COLUMN left_at TEXT COLLATE "C";
CREATE TABLE erased_name (
    digest BYTEA PRIMARY KEY,
    erased TEXT COLLATE "C" NOT NULL
);

-- Lists are narrowed by the claimed epsilon too: releases that are there get `none`, or `earlier` where they claim one.
INSERT INTO label (kind, value, position, repository_id, shown)
SELECT
    'epsilon', CASE WHEN CAST(replace(summary, '\u0000', '\ufffd') AS JSON) #>> '{release,privacy}' = 'none' THEN 'none' ELSE 'earlier' END,
    position, id, CASE WHEN private = 0 AND released = 1 AND hidden = 0 THEN 1 ELSE 0 END
FROM repository WHERE released = 1 AND (CAST(replace(summary, '\u0000', '\ufffd') AS JSON) #>> '{release,privacy}') IS NOT NULL
ON CONFLICT DO NOTHING;
UPDATE repository SET facets = facets || chr(30) || 'epsilon' || chr(31)
    || CASE WHEN CAST(replace(summary, '\u0000', '\ufffd') AS JSON) #>> '{release,privacy}' = 'none' THEN 'none' ELSE 'earlier' END
WHERE released = 1 AND facets <> '' AND (CAST(replace(summary, '\u0000', '\ufffd') AS JSON) #>> '{release,privacy}') IS NOT NULL;
