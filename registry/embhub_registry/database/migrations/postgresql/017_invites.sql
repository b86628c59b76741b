-- Invitations of an operator: each makes one account, once, in one namespace. Of the code its SHA-256 is stored.

CREATE TABLE invite (
    digest BYTEA PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    user_name TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL CHECK (role IN ('reader', 'publisher', 'auditor')),
    days BIGINT NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    expires TEXT COLLATE "C" NOT NULL,
    used TEXT COLLATE "C",
    revoked TEXT COLLATE "C"
);
