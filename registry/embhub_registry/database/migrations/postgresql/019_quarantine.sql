-- Releases that an operator set aside while they are looked at, a row for each commit that holds their bytes.
-- `main_before` and `main_after`: where `main` was moved from and to, of the repository, while it is displaced.

ALTER TABLE repository ADD COLUMN set_aside BIGINT NOT NULL DEFAULT 0;

CREATE TABLE quarantine (
    repository_id BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    revision_id TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    author TEXT COLLATE "C" NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    main_before TEXT COLLATE "C",
    main_after TEXT COLLATE "C",
    PRIMARY KEY (repository_id, revision_id)
);

CREATE INDEX quarantine_by_digest ON quarantine (digest);
