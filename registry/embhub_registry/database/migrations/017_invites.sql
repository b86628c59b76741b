-- Invitations of an operator: each makes one account, once, in one namespace. Of the code its SHA-256 is stored.

CREATE TABLE invite (
    digest BLOB PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    user_name TEXT NOT NULL,
    namespace TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('reader', 'publisher', 'auditor')),
    days INTEGER NOT NULL,
    created TEXT NOT NULL,
    expires TEXT NOT NULL,
    used TEXT,
    revoked TEXT
) STRICT;
