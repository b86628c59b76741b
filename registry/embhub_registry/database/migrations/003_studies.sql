-- stops: a yank may be by a site of a study, which an earlier program could not list

-- Studies that were proposed here. `sites` is a JSON list of namespaces; `released` says since when a release of it is
-- published.
CREATE TABLE study (
    digest TEXT NOT NULL PRIMARY KEY,
    repository TEXT NOT NULL,
    sites TEXT NOT NULL,
    created TEXT NOT NULL,
    released TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX study_of ON study (repository);

-- What was signed about them: the proposal, and of each namespace one join and one withdrawal.
CREATE TABLE study_statement (
    study TEXT NOT NULL REFERENCES study (digest),
    kind TEXT NOT NULL CHECK (kind IN ('proposal', 'join', 'withdrawal')),
    namespace TEXT NOT NULL,
    created TEXT NOT NULL,
    bundle BLOB NOT NULL,
    PRIMARY KEY (study, kind, namespace)
) STRICT, WITHOUT ROWID;

-- As before, and by a site of the study that a release came from.
CREATE TABLE yank_with_sites (
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('version', 'revision')),
    which TEXT NOT NULL,
    authority TEXT NOT NULL CHECK (authority IN ('publisher', 'site', 'operator', 'key-stolen')),
    scope TEXT NOT NULL CHECK (scope IN ('release', 'bytes')),
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    created TEXT NOT NULL,
    PRIMARY KEY (repository_id, kind, which, authority)
) STRICT, WITHOUT ROWID;
INSERT INTO yank_with_sites SELECT * FROM yank;
DROP TABLE yank;
ALTER TABLE yank_with_sites RENAME TO yank;
