-- rolling: it adds a table; a program that does not know it neither takes nor shows reports on bases

-- What became of running embhub on a base: of each namespace the newest report of a base.
-- `base` is the SHA-256 of the base's fingerprint, `fingerprint` the key's; `replaced` counts the reports before.
CREATE TABLE base_report (
    base TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    bundle BYTEA NOT NULL,
    replaced BIGINT NOT NULL,
    PRIMARY KEY (base, namespace)
);
CREATE INDEX base_report_of ON base_report (namespace, created);
CREATE INDEX base_report_newest ON base_report (created);
