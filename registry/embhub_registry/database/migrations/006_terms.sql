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
