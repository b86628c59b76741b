-- Tries of login codes, counted for all servers together: a token bucket for each address and each account. Of its name
-- the SHA-256 is here. The row goes once all tries are there again.

CREATE TABLE login_limit (
    digest BYTEA PRIMARY KEY,
    full_at BIGINT NOT NULL
);

CREATE INDEX login_limit_full_at ON login_limit (full_at);
