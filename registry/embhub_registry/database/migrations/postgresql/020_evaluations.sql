-- Evaluations of a release by those who pulled it: of each namespace the newest signed statement. Where the operator
-- removed one, the statement is gone, and when and why stay. `replaced` counts those before it.
CREATE TABLE evaluation (
    digest TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    bundle BYTEA,
    replaced BIGINT NOT NULL,
    removed TEXT COLLATE "C",
    reason TEXT COLLATE "C",
    PRIMARY KEY (digest, namespace, repository),
    CHECK ((bundle IS NULL) = (removed IS NOT NULL) AND (removed IS NULL) = (reason IS NULL))
);
CREATE INDEX evaluation_of ON evaluation (repository, created);
