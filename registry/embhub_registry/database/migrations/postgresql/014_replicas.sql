-- Several server processes over one database. Lines of the audit log, where `audit_head.place` says that they are here.
ALTER TABLE audit_head ADD COLUMN place TEXT COLLATE "C" NOT NULL DEFAULT 'file' CHECK (place IN ('file', 'database'));
CREATE TABLE audit_line (
    number BIGINT PRIMARY KEY,
    month TEXT COLLATE "C" NOT NULL,
    line TEXT COLLATE "C" NOT NULL
);
CREATE FUNCTION keep_audit_line() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER audit_line_is_final BEFORE UPDATE ON audit_line FOR EACH ROW EXECUTE FUNCTION keep_audit_line();

-- Who signs the log: a checkpoint is stored only under the newest term.
CREATE TABLE log_sequencer (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    term BIGINT NOT NULL,
    holder TEXT COLLATE "C" NOT NULL,
    since TEXT COLLATE "C" NOT NULL
);
