-- People in browsers: sessions, one-time login links, TOTP, recovery codes, passkeys, identities at a provider, logins
-- that are under way, and access tokens that a program asks for by a device code (RFC 8628).
-- Every secret is stored as its SHA-256, but for the TOTP secret, which is encrypted with a key outside the database.

CREATE TABLE session (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    method TEXT NOT NULL CHECK (method IN ('link', 'totp', 'recovery', 'passkey', 'provider')),
    created TEXT NOT NULL,
    confirmed TEXT NOT NULL,
    last_used TEXT NOT NULL,
    expires TEXT NOT NULL
) STRICT;

CREATE INDEX session_of_user ON session (user_id);

CREATE TABLE login_link (
    digest BLOB PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    expires TEXT NOT NULL,
    used TEXT
) STRICT;

-- `last_step` is the last time step whose code was accepted: no code counts twice (RFC 6238 section 5.2).
CREATE TABLE totp (
    user_id INTEGER PRIMARY KEY REFERENCES user (id) ON DELETE CASCADE,
    secret BLOB NOT NULL,
    created TEXT NOT NULL,
    confirmed TEXT,
    last_step INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE recovery_code (
    digest BLOB PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    created TEXT NOT NULL,
    used TEXT
) STRICT;

CREATE INDEX recovery_code_user ON recovery_code (user_id);

CREATE TABLE passkey (
    credential BLOB PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    public_key BLOB NOT NULL,
    sign_count INTEGER NOT NULL,
    name TEXT NOT NULL,
    created TEXT NOT NULL,
    last_used TEXT
) STRICT;

CREATE INDEX passkey_user ON passkey (user_id);

CREATE TABLE identity (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    created TEXT NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;

CREATE INDEX identity_user ON identity (user_id);

-- What was sent to a browser or a provider and is expected back, once: a challenge, or state, nonce and verifier.
CREATE TABLE login_attempt (
    digest BLOB PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('passkey-new', 'passkey', 'provider')),
    user_id INTEGER REFERENCES user (id) ON DELETE CASCADE,
    challenge TEXT NOT NULL,
    verifier TEXT NOT NULL,
    replaces TEXT,
    expires TEXT NOT NULL
) STRICT;

CREATE TABLE device_request (
    digest BLOB PRIMARY KEY,
    user_code TEXT NOT NULL UNIQUE,
    address TEXT NOT NULL,
    client TEXT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'publish', 'admin')),
    days INTEGER NOT NULL,
    expires TEXT NOT NULL,
    polled TEXT,
    patience INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied')),
    user_id INTEGER REFERENCES user (id) ON DELETE CASCADE
) STRICT;

ALTER TABLE token ADD COLUMN purpose TEXT NOT NULL DEFAULT '';
-- A role that groups at a provider gave is taken away when they give it no more, whatever the rules say now.
ALTER TABLE membership ADD COLUMN given_by TEXT NOT NULL DEFAULT 'operator' CHECK (given_by IN ('operator', 'provider'));
