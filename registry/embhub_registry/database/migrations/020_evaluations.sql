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
