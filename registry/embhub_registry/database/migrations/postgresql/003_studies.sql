-- stops: a yank may be by a site of a study, which an earlier program could not list

-- Studies that were proposed here. `sites` is a JSON list of namespaces; `released` says since when a release of it is
-- published.
CREATE TABLE study (
    digest TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    repository TEXT COLLATE "C" NOT NULL,
    sites TEXT COLLATE "C" NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    released TEXT COLLATE "C"
);
CREATE INDEX study_of ON study (repository);

-- What was signed about them: the proposal, and of each namespace one join and one withdrawal.
CREATE TABLE study_statement (
    study TEXT COLLATE "C" NOT NULL REFERENCES study (digest),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('proposal', 'join', 'withdrawal')),
    namespace TEXT COLLATE "C" NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    bundle BYTEA NOT NULL,
    PRIMARY KEY (study, kind, namespace)
);

-- As before, and by a site of the study that a release came from.
ALTER TABLE yank DROP CONSTRAINT yank_authority_check;
ALTER TABLE yank ADD CONSTRAINT yank_authority_check
    CHECK (authority IN ('publisher', 'site', 'operator', 'key-stolen'));
