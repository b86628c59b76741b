-- Several server processes over one database. Lines of the audit log, where `audit_head.place` says that they are here.
ALTER TABLE audit_head ADD COLUMN place TEXT NOT NULL DEFAULT 'file' CHECK (place IN ('file', 'database'));
CREATE TABLE audit_line (
    number INTEGER PRIMARY KEY,
    month TEXT NOT NULL,
    line TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_line_is_final BEFORE UPDATE ON audit_line
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- Who signs the log: a checkpoint is stored only under the newest term.
CREATE TABLE log_sequencer (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    term INTEGER NOT NULL,
    holder TEXT NOT NULL,
    since TEXT NOT NULL
) STRICT;
