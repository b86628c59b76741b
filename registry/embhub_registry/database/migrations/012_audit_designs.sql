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
