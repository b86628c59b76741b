-- The root may be elsewhere: its changes, each signed by old and new keys; the keyring that waits for its signatures; and
-- the newest timestamp. Each envelope is the signed bytes as they are served.
CREATE TABLE root_change (number INTEGER PRIMARY KEY, envelope BLOB NOT NULL, created TEXT NOT NULL) STRICT;
CREATE TABLE keyring_pending (
    id INTEGER PRIMARY KEY CHECK (id = 1), keyring BLOB NOT NULL, changed TEXT NOT NULL
) STRICT;
CREATE TABLE trust_timestamp (
    id INTEGER PRIMARY KEY CHECK (id = 1), envelope BLOB NOT NULL, issued TEXT NOT NULL
) STRICT;
