-- rolling: it adds a table; a program that does not know it neither takes nor shows reports on bases

-- What became of running embhub on a base: of each namespace the newest report of a base.
-- `base` is the SHA-256 of the base's fingerprint, `fingerprint` the key's; `replaced` counts the reports before.
CREATE TABLE base_report (
    base TEXT NOT NULL,
    namespace TEXT NOT NULL,
    created TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    bundle BLOB NOT NULL,
    replaced INTEGER NOT NULL,
    PRIMARY KEY (base, namespace)
) STRICT, WITHOUT ROWID;
CREATE INDEX base_report_of ON base_report (namespace, created);
CREATE INDEX base_report_newest ON base_report (created);
