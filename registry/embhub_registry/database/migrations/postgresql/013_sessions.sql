-- People in browsers: sessions, one-time login links, TOTP, recovery codes, passkeys, identities at a provider, logins
-- that are under way, and access tokens that a program asks for by a device code (RFC 8628).
-- Every secret is stored as its SHA-256, but for the TOTP secret, which is encrypted with a key outside the database.

CREATE TABLE session (
    id TEXT COLLATE "C" PRIMARY KEY,
    digest BYTEA NOT NULL UNIQUE,
    user_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    method TEXT COLLATE "C" NOT NULL CHECK (method IN ('link', 'totp', 'recovery', 'passkey', 'provider')),
    created TEXT COLLATE "C" NOT NULL,
    confirmed TEXT COLLATE "C" NOT NULL,
    last_used TEXT COLLATE "C" NOT NULL,
    expires TEXT COLLATE "C" NOT NULL
);

CREATE INDEX session_of_user ON session (user_id);

CREATE TABLE login_link (
    digest BYTEA PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    expires TEXT COLLATE "C" NOT NULL,
    used TEXT COLLATE "C"
);

-- `last_step` is the last time step whose code was accepted: no code counts twice (RFC 6238 section 5.2).
CREATE TABLE totp (
    user_id BIGINT PRIMARY KEY REFERENCES "user" (id) ON DELETE CASCADE,
    secret BYTEA NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    confirmed TEXT COLLATE "C",
    last_step BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE recovery_code (
    digest BYTEA PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    created TEXT COLLATE "C" NOT NULL,
    used TEXT COLLATE "C"
);

CREATE INDEX recovery_code_user ON recovery_code (user_id);

CREATE TABLE passkey (
    credential BYTEA PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    public_key BYTEA NOT NULL,
    sign_count BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    last_used TEXT COLLATE "C"
);

CREATE INDEX passkey_user ON passkey (user_id);

CREATE TABLE identity (
    issuer TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    user_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    created TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (issuer, subject)
);

CREATE INDEX identity_user ON identity (user_id);

-- What was sent to a browser or a provider and is expected back, once: a challenge, or state, nonce and verifier.
CREATE TABLE login_attempt (
    digest BYTEA PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('passkey-new', 'passkey', 'provider')),
    user_id BIGINT REFERENCES "user" (id) ON DELETE CASCADE,
    challenge TEXT COLLATE "C" NOT NULL,
    verifier TEXT COLLATE "C" NOT NULL,
    replaces TEXT COLLATE "C",
    expires TEXT COLLATE "C" NOT NULL
);

CREATE TABLE device_request (
    digest BYTEA PRIMARY KEY,
    user_code TEXT COLLATE "C" NOT NULL UNIQUE,
    address TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL CHECK (scope IN ('read', 'publish', 'admin')),
    days BIGINT NOT NULL,
    expires TEXT COLLATE "C" NOT NULL,
    polled TEXT COLLATE "C",
    patience BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'approved', 'denied')),
    user_id BIGINT REFERENCES "user" (id) ON DELETE CASCADE
);

ALTER TABLE token ADD COLUMN purpose TEXT COLLATE "C" NOT NULL DEFAULT '';
-- A role that groups at a provider gave is taken away when they give it no more, whatever the rules say now.
ALTER TABLE membership ADD COLUMN given_by TEXT COLLATE "C" NOT NULL DEFAULT 'operator' CHECK (given_by IN ('operator', 'provider'));
