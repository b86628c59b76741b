-- The transparency log. Entries are numbered from 0 without a gap and are never changed or removed: an index is given in
-- the transaction that stores what is logged. Tiles are made from here.
CREATE TABLE log_entry (
    place INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE
) STRICT;
CREATE TRIGGER log_entry_stays BEFORE DELETE ON log_entry BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_entry_is_final BEFORE UPDATE ON log_entry BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

-- Checkpoints that were signed, with the cosignatures that came in since; `cosigned` is when the newest did.
CREATE TABLE log_checkpoint (
    size INTEGER PRIMARY KEY,
    root BLOB NOT NULL,
    note BLOB NOT NULL,
    cosigners INTEGER NOT NULL DEFAULT 0,
    cosigned TEXT
) STRICT;

-- Witnesses that the operator chose; `url` is empty where the witness comes by itself, `seen` is the size it cosigned last.
CREATE TABLE log_witness (
    vkey TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    seen INTEGER NOT NULL DEFAULT 0,
    asked TEXT
) STRICT, WITHOUT ROWID;
