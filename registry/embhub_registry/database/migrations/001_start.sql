-- stops: the first step, which makes every table.
-- All mutable state of a registry. Times are UTC, ISO 8601 with milliseconds, so that text order is time order.

CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE namespace (
    name TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    -- NULL: the registry's own setting holds.
    max_bytes INTEGER,
    max_repositories INTEGER,
    max_releases INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL REFERENCES namespace (name),
    created TEXT NOT NULL,
    disabled TEXT,
    mail TEXT NOT NULL DEFAULT '',
    mail_kinds TEXT NOT NULL DEFAULT 'access.requested access.decided review.requested review.decided',
    left_at TEXT
) STRICT;

-- The token itself is never stored: SHA-256 of 256 random bits cannot be guessed back.
CREATE TABLE token (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    user_id INTEGER NOT NULL REFERENCES user (id),
    created TEXT NOT NULL,
    expires TEXT,
    revoked TEXT,
    last_used TEXT,
    scope TEXT NOT NULL DEFAULT 'publish' CHECK (scope IN ('read', 'publish', 'admin')),
    unlimited INTEGER NOT NULL DEFAULT 0,
    purpose TEXT NOT NULL DEFAULT '',
    -- NAMESPACE/NAME of the only repository that it is good for; NULL for all of its account's.
    only_repository TEXT,
    -- An approval that no key signs needs somebody who proved just now who they are: this is when the person proved it who
    -- made the token, in a page or for a program; NULL of tokens that an operator or a workload got.
    proved TEXT
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
    -- Grows with every commit, so that newest first is one integer downwards.
    position INTEGER NOT NULL DEFAULT 0,
    released INTEGER NOT NULL DEFAULT 0,
    -- The newest release was taken back: kept and readable, out of lists and counts.
    hidden INTEGER NOT NULL DEFAULT 0,
    -- Gated: everybody sees that it is there and its card, files go to whom its publisher lets in.
    gated TEXT NOT NULL DEFAULT '' CHECK (gated IN ('', 'auto', 'manual')),
    -- Taken out of circulation by an admin: its files go to nobody else.
    disabled INTEGER NOT NULL DEFAULT 0,
    set_aside INTEGER NOT NULL DEFAULT 0,
    -- The claimed epsilon of the newest release, by which lists are sorted; NULL without a claim that has a bound.
    epsilon REAL,
    -- Last, for it may be long: SQLite reads a row from its beginning.
    summary TEXT NOT NULL DEFAULT '{}',
    UNIQUE (namespace, name)
) STRICT;

-- Two names that differ only by case would be one folder on some sites' disks.
CREATE UNIQUE INDEX repository_folded ON repository (namespace, lower(name));
-- A name that differs in case, `.`, `_` or `-` alone is found by a key, also while a download waits for the answer.
CREATE INDEX repository_near ON repository (namespace, replace(replace(lower(name), '.', '-'), '_', '-'));
CREATE INDEX repository_modified ON repository (modified DESC, id DESC);
CREATE UNIQUE INDEX repository_position ON repository (position);
CREATE INDEX repository_downloads ON repository (downloads DESC, id DESC);
-- Both orders are walked downwards, and what has no epsilon comes last in both.
CREATE INDEX repository_epsilon ON repository (coalesce(-epsilon, -1e300) DESC, id DESC);
CREATE INDEX repository_epsilon_largest ON repository (coalesce(epsilon, -1e300) DESC, id DESC);

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

-- What an account may do, namespace by namespace; `user.namespace` stays as the one it publishes in by default.
CREATE TABLE membership (
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    namespace TEXT NOT NULL REFERENCES namespace (name),
    role TEXT NOT NULL CHECK (role IN ('reader', 'publisher', 'auditor', 'approver', 'admin')),
    created TEXT NOT NULL,
    -- A role that groups at a provider gave is taken away when they give it no more, whatever the rules say now.
    given_by TEXT NOT NULL DEFAULT 'operator' CHECK (given_by IN ('operator', 'provider')),
    PRIMARY KEY (user_id, namespace)
) STRICT, WITHOUT ROWID;

-- A version or one commit that is no longer recommended. The bytes stay, so that what was pulled can be checked. A yank
-- has a scope and an authority, which decides who may lift it: a publisher's and the operator's stand side by side. Of a
-- commit whose only good signature is that of a key that was stolen the author is the key; nobody lifts it.
CREATE TABLE yank (
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('version', 'revision')),
    which TEXT NOT NULL,
    authority TEXT NOT NULL CHECK (authority IN ('publisher', 'operator', 'key-stolen')),
    scope TEXT NOT NULL CHECK (scope IN ('release', 'bytes')),
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    created TEXT NOT NULL,
    PRIMARY KEY (repository_id, kind, which, authority)
) STRICT, WITHOUT ROWID;

-- What was deleted, by whom and why; the name is not given out again by accident.
CREATE TABLE tombstone (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    private INTEGER NOT NULL,
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    created TEXT NOT NULL,
    releases TEXT NOT NULL,
    -- Whether its files were not everybody's: it was gated, disabled, or a release was in quarantine. Evaluations of it
    -- stay hidden from everybody but its namespace.
    restricted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX tombstone_folded ON tombstone (namespace, lower(name));

-- Bytes that nothing names any more: to be removed at `due`, removed at `purged`. Kept as proof, `check` reads it.
CREATE TABLE purge (
    digest TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    due TEXT NOT NULL,
    purged TEXT
) STRICT, WITHOUT ROWID;

-- Where the audit log ends and, once old segments were pruned, where it begins: one row.
CREATE TABLE audit_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL,
    digest TEXT NOT NULL,
    segment TEXT NOT NULL,
    size INTEGER NOT NULL,
    first_number INTEGER NOT NULL,
    first_previous TEXT NOT NULL,
    -- Where its lines are: in files, or, for several servers, in `audit_line`.
    place TEXT NOT NULL DEFAULT 'file' CHECK (place IN ('file', 'database'))
) STRICT;
CREATE TABLE audit_line (
    number INTEGER PRIMARY KEY,
    month TEXT NOT NULL,
    line TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_line_is_final BEFORE UPDATE ON audit_line
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- What a search box searches, and the index over it: trigrams, any part of a word from three letters on. The index reads
-- the texts here; database/placement.py keeps it: with an untrusted schema no trigger may write to a virtual table.
CREATE TABLE wording (
    repository_id INTEGER PRIMARY KEY REFERENCES repository (id) ON DELETE CASCADE,
    words TEXT NOT NULL
) STRICT;
CREATE VIRTUAL TABLE search USING fts5 (
    words, content = 'wording', content_rowid = 'repository_id', tokenize = 'trigram case_sensitive 1'
);

-- What filters a list: kind `tag` is the Hub's word, the others are facets. Counted are the rows that everybody sees.
CREATE TABLE label (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    shown INTEGER NOT NULL,
    PRIMARY KEY (kind, value, repository_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX label_repository ON label (repository_id);
CREATE TABLE label_count (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    shown INTEGER NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX label_count_shown ON label_count (kind, shown DESC);

CREATE TRIGGER label_added AFTER INSERT ON label WHEN new.shown BEGIN
    INSERT INTO label_count VALUES (new.kind, new.value, 1) ON CONFLICT DO UPDATE SET shown = shown + 1;
END;
CREATE TRIGGER label_removed AFTER DELETE ON label WHEN old.shown BEGIN
    UPDATE label_count SET shown = shown - 1 WHERE kind = old.kind AND value = old.value;
END;
CREATE TRIGGER label_shown AFTER UPDATE OF shown ON label WHEN new.shown <> old.shown BEGIN
    INSERT INTO label_count VALUES (new.kind, new.value, 1)
    ON CONFLICT DO UPDATE SET shown = shown + (new.shown - old.shown);
END;
CREATE TRIGGER repository_shown AFTER UPDATE OF private, released, hidden ON repository BEGIN
    UPDATE label SET shown = (new.private = 0 AND new.released = 1 AND new.hidden = 0) WHERE repository_id = new.id;
END;

CREATE TABLE access (
    id TEXT PRIMARY KEY,
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    status TEXT NOT NULL CHECK (status IN ('pending', 'accepted', 'rejected')),
    requested TEXT NOT NULL,
    decided TEXT,
    decided_by TEXT,
    reason TEXT NOT NULL DEFAULT '',
    UNIQUE (repository_id, user_id)
) STRICT;
CREATE INDEX access_user ON access (user_id);

-- Who audited which bytes: every audit attestation that was ever admitted, by the embedding's digest, so that neither a
-- new version of the same bytes nor another auditor's report hides one. `own` where the release's publisher signed it.
-- The attestation itself is kept here, for it outlives the repository that it came with.
CREATE TABLE attestation (
    digest TEXT NOT NULL,
    namespace TEXT NOT NULL,
    repository TEXT NOT NULL,
    version TEXT NOT NULL,
    own INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    created TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    bundle BLOB NOT NULL,
    PRIMARY KEY (digest, namespace, repository, version)
) STRICT, WITHOUT ROWID;
-- By which what nearly equals a leaking embedding is found, without reading the audits.
CREATE INDEX attestation_leaking ON attestation (digest) WHERE verdict = 'leak-detected';

-- Terms of a gated repository, each version as it was written, and who accepted which. Nothing is ever changed here: a
-- new text is a new version, and an acceptance names the version and the digest of its text. An empty text ends them.
CREATE TABLE terms (
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    text TEXT NOT NULL,
    digest TEXT NOT NULL,
    written TEXT NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (repository_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE terms_accepted (
    repository_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    accepted TEXT NOT NULL,
    PRIMARY KEY (repository_id, user_id, version),
    FOREIGN KEY (repository_id, version) REFERENCES terms (repository_id, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX terms_accepted_user ON terms_accepted (user_id);

-- Every withdrawal of a release or of an embedding's bytes, as the advisories tell it. Rows are lifted, never removed;
-- those of a deleted repository stay, without its id. `private` is how the repository was when it was deleted.
CREATE TABLE withdrawal (
    number INTEGER PRIMARY KEY,
    repository_id INTEGER,
    repository TEXT NOT NULL,
    namespace TEXT NOT NULL,
    version TEXT NOT NULL,
    digest TEXT NOT NULL,
    private INTEGER NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('release', 'bytes')),
    authority TEXT NOT NULL CHECK (authority IN ('publisher', 'operator', 'key-stolen')),
    reason TEXT NOT NULL,
    created TEXT NOT NULL,
    lifted TEXT
) STRICT;
CREATE INDEX withdrawal_digest ON withdrawal (digest);
CREATE INDEX withdrawal_repository ON withdrawal (repository_id);

-- The advisories that are served: one row. `content` is the SHA-256 of what they say, so that a number means one text.
CREATE TABLE advisory_feed (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL,
    content TEXT NOT NULL,
    envelope BLOB NOT NULL
) STRICT;

-- The root may be elsewhere: its changes, each signed by old and new keys; the keyring that waits for its signatures; and
-- the newest timestamp. Each envelope is the signed bytes as they are served.
CREATE TABLE root_change (number INTEGER PRIMARY KEY, envelope BLOB NOT NULL, created TEXT NOT NULL) STRICT;
CREATE TABLE keyring_pending (
    id INTEGER PRIMARY KEY CHECK (id = 1), keyring BLOB NOT NULL, changed TEXT NOT NULL
) STRICT;
CREATE TABLE trust_timestamp (
    id INTEGER PRIMARY KEY CHECK (id = 1), envelope BLOB NOT NULL, issued TEXT NOT NULL
) STRICT;

-- The transparency log. Entries are numbered from 0 without a gap and are never changed or removed: an index is given in
-- the transaction that stores what is logged. Tiles are made from here.
CREATE TABLE log_entry (
    place INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE
) STRICT;
CREATE TRIGGER log_entry_stays BEFORE DELETE ON log_entry BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_entry_is_final BEFORE UPDATE ON log_entry BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

-- Checkpoints that were signed, with the cosignatures that came in since; `cosigned` is when the newest did.
CREATE TABLE log_checkpoint (
    size INTEGER PRIMARY KEY,
    root BLOB NOT NULL,
    note BLOB NOT NULL,
    cosigners INTEGER NOT NULL DEFAULT 0,
    cosigned TEXT
) STRICT;

-- Witnesses that the operator chose; `url` is empty where the witness comes by itself, `seen` is the size it cosigned last.
CREATE TABLE log_witness (
    vkey TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    seen INTEGER NOT NULL DEFAULT 0,
    asked TEXT
) STRICT, WITHOUT ROWID;

-- Audits that were registered before they ran: the signed design, and the result once there is one. Never removed, so that
-- a design without a result stays visible to everybody who knows the embedding.
CREATE TABLE audit_design (
    identity TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    namespace TEXT NOT NULL,
    number INTEGER NOT NULL,
    bundle BLOB NOT NULL,
    received TEXT NOT NULL,
    result BLOB,
    verdict TEXT,
    ended TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_design_of ON audit_design (digest, received);
CREATE INDEX audit_design_open ON audit_design (namespace) WHERE result IS NULL;

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
    expires TEXT NOT NULL,
    address TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX login_attempt_address ON login_attempt (address, expires);

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

-- Who signs the log: a checkpoint is stored only under the newest term.
CREATE TABLE log_sequencer (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    term INTEGER NOT NULL,
    holder TEXT NOT NULL,
    since TEXT NOT NULL
) STRICT;

-- Releases that need approval: what was pushed is kept apart from the commits that everybody reads, until enough approvers
-- of the namespace have approved its digest. `name` is '' for a whole namespace, else a repository's name as it is
-- compared (lower case, `.` and `_` as `-`), so that the rule outlives a repository that is deleted and made again.
CREATE TABLE review_rule (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    approvals INTEGER NOT NULL CHECK (approvals BETWEEN 1 AND 2),
    author TEXT NOT NULL,
    changed TEXT NOT NULL,
    -- Whether approvals have to be signed by the approvers' own keys.
    signed INTEGER NOT NULL DEFAULT 0 CHECK (signed IN (0, 1)),
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;

-- `digest` covers every file; it never changes. Of a proposal that was decided, its files are gone from `proposal_file`.
CREATE TABLE proposal (
    id TEXT PRIMARY KEY,
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    branch TEXT NOT NULL,
    parent TEXT NOT NULL,
    digest TEXT NOT NULL,
    version TEXT,
    author TEXT NOT NULL,
    author_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    caller TEXT NOT NULL,
    admin INTEGER NOT NULL,
    title TEXT NOT NULL,
    message TEXT NOT NULL,
    created TEXT NOT NULL,
    needed INTEGER NOT NULL,
    not_before TEXT,
    state TEXT NOT NULL CHECK (state IN ('open', 'published', 'declined', 'replaced')),
    decided TEXT,
    decided_by TEXT,
    reason TEXT NOT NULL DEFAULT '',
    revision_id TEXT
) STRICT;
CREATE UNIQUE INDEX proposal_open ON proposal (repository_id, branch, author_id) WHERE state = 'open';
CREATE INDEX proposal_repository ON proposal (repository_id, created);

CREATE TABLE proposal_file (
    proposal_id TEXT NOT NULL REFERENCES proposal (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    digest TEXT NOT NULL REFERENCES blob (digest),
    PRIMARY KEY (proposal_id, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX proposal_file_digest ON proposal_file (digest);

-- `kind`: signed by the approver's own key, or clicked in the registry's page and attested by the registry alone.
CREATE TABLE approval (
    proposal_id TEXT NOT NULL REFERENCES proposal (id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    approver TEXT NOT NULL,
    digest TEXT NOT NULL,
    created TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('signed', 'registry')),
    fingerprint TEXT NOT NULL,
    bundle BLOB,
    PRIMARY KEY (proposal_id, user_id)
) STRICT, WITHOUT ROWID;

-- Workloads that publish without a person: tokens of this issuer with these claims may publish in this one repository.
-- The account is the rule's own.
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

-- The names of accounts that were erased, so that nobody else appears under them: their SHA-256.
CREATE TABLE erased_name (
    digest BLOB PRIMARY KEY,
    erased TEXT NOT NULL
) STRICT;

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

-- Tries of login codes, counted for all servers together: a token bucket for each address and each account. Of its name
-- the SHA-256 is here. The row goes once all tries are there again.

CREATE TABLE login_limit (
    digest BLOB PRIMARY KEY,
    full_at INTEGER NOT NULL
) STRICT;

CREATE INDEX login_limit_full_at ON login_limit (full_at);

-- Releases that an operator set aside while they are looked at, a row for each commit that holds their bytes.
-- `main_before` and `main_after`: where `main` was moved from and to, of the repository, while it is displaced.

CREATE TABLE quarantine (
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    revision_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    created TEXT NOT NULL,
    main_before TEXT,
    main_after TEXT,
    PRIMARY KEY (repository_id, revision_id)
) STRICT;

CREATE INDEX quarantine_by_digest ON quarantine (digest);

-- Evaluations of a release by those who pulled it: of each namespace the newest signed statement. Where the operator
-- removed one, the statement is gone, and when and why stay. `replaced` counts those before it.
CREATE TABLE evaluation (
    digest TEXT NOT NULL,
    namespace TEXT NOT NULL,
    repository TEXT NOT NULL,
    version TEXT NOT NULL,
    created TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    bundle BLOB,
    replaced INTEGER NOT NULL,
    removed TEXT,
    reason TEXT,
    PRIMARY KEY (digest, namespace, repository),
    CHECK ((bundle IS NULL) = (removed IS NOT NULL) AND (removed IS NULL) = (reason IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX evaluation_of ON evaluation (repository, created);

-- Links for reviewers without an account: each shows one open proposal, and is found by the SHA-256 of its secret.
CREATE TABLE reviewer_link (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    proposal_id TEXT NOT NULL REFERENCES proposal (id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    purpose TEXT NOT NULL,
    created TEXT NOT NULL,
    expires TEXT NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0,
    first_used TEXT,
    last_used TEXT
) STRICT;
CREATE INDEX reviewer_link_proposal ON reviewer_link (proposal_id);
CREATE INDEX reviewer_link_expires ON reviewer_link (expires);
CREATE INDEX reviewer_link_user ON reviewer_link (user_id);

-- Of each embedding file that came: the digest of its numbers alone, their shapes, and a sketch of each vector, so that the
-- same or nearly the same numbers are known under another header. They stay when the file is erased.
CREATE TABLE numbers (
    file TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    shape TEXT NOT NULL,
    sketch BLOB NOT NULL
) STRICT;
CREATE INDEX numbers_same ON numbers (digest);
CREATE INDEX numbers_alike ON numbers (shape);
