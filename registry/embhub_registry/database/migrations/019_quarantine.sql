
-- Releases that an operator set aside while they are looked at, a row for each commit that holds their bytes.
-- `main_before` and `main_after`: where `main` was moved from and to, of the repository, while it is displaced.

ALTER TABLE repository ADD COLUMN set_aside INTEGER NOT NULL DEFAULT 0;

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
