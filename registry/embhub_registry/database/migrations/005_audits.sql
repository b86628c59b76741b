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
