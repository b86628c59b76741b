-- Lists, search and facets. `position` grows with every commit, so that newest first is one integer downwards: in the
-- table of repositories, in every label's row and in the full-text index alike. `plain_words` is database/wording.py's.

ALTER TABLE repository ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repository ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
-- Its facets once more, in one text, so that those of a thousand rows are counted in milliseconds.
ALTER TABLE repository ADD COLUMN facets TEXT NOT NULL DEFAULT '';
-- The newest release was taken back: kept and readable, out of lists and counts.
ALTER TABLE repository ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;

UPDATE repository SET released = (summary ->> '$.release') IS NOT NULL, position = ranked.place
FROM (SELECT id AS ranked_id, row_number() OVER (ORDER BY modified, id) AS place FROM repository) AS ranked
WHERE ranked_id = repository.id;

CREATE UNIQUE INDEX repository_position ON repository (position);
CREATE INDEX repository_downloads ON repository (downloads DESC, id DESC);

-- What a search box searches. The index over it is trigrams: any part of a word from three letters on. It is kept by
-- database/placement.py: with an untrusted schema no trigger may write to a virtual table.
CREATE TABLE wording (
    position INTEGER PRIMARY KEY,
    repository_id INTEGER NOT NULL UNIQUE REFERENCES repository (id) ON DELETE CASCADE,
    words TEXT NOT NULL
) STRICT;
INSERT INTO wording
SELECT position, repository.id, plain_words(search.text) FROM search JOIN repository ON repository.id = search.rowid;
DROP TABLE search;
CREATE VIRTUAL TABLE search USING fts5 (
    words, content = 'wording', content_rowid = 'position', tokenize = 'trigram case_sensitive 1'
);
INSERT INTO search (search) VALUES ('rebuild');

-- What filters a list: kind `tag` is the Hub's word, the others are facets. Counted are the rows that everybody sees.
CREATE TABLE label (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    position INTEGER NOT NULL,
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    shown INTEGER NOT NULL,
    PRIMARY KEY (kind, value, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX label_repository ON label (repository_id);
CREATE TABLE label_count (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    shown INTEGER NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX label_count_shown ON label_count (kind, shown DESC);

CREATE TRIGGER label_added AFTER INSERT ON label WHEN new.shown BEGIN
    INSERT INTO label_count VALUES (new.kind, new.value, 1) ON CONFLICT DO UPDATE SET shown = shown + 1;
END;
CREATE TRIGGER label_removed AFTER DELETE ON label WHEN old.shown BEGIN
    UPDATE label_count SET shown = shown - 1 WHERE kind = old.kind AND value = old.value;
END;
CREATE TRIGGER label_shown AFTER UPDATE OF shown ON label WHEN new.shown <> old.shown BEGIN
    INSERT INTO label_count VALUES (new.kind, new.value, 1)
    ON CONFLICT DO UPDATE SET shown = shown + (new.shown - old.shown);
END;
CREATE TRIGGER repository_shown AFTER UPDATE OF private, released, hidden ON repository BEGIN
    UPDATE label SET shown = (new.private = 0 AND new.released = 1 AND new.hidden = 0) WHERE repository_id = new.id;
END;

INSERT INTO label SELECT 'tag', tag, position, id, private = 0 AND released = 1
FROM repository_tag JOIN repository ON id = repository_id;
DROP TABLE repository_tag;
INSERT INTO label SELECT 'namespace', namespace, position, id, private = 0 AND released = 1 FROM repository;
INSERT OR IGNORE INTO label SELECT 'modality', trim(j.value), position, repository.id, private = 0
FROM repository, json_each(summary, '$.release.modality') j WHERE released = 1;
INSERT OR IGNORE INTO label SELECT 'anatomy', facet_value(j.value), position, repository.id, private = 0
FROM repository, json_each(summary, '$.release.anatomy') j WHERE released = 1;
INSERT OR IGNORE INTO label SELECT 'finding', facet_value(j.value), position, repository.id, private = 0
FROM repository, json_each(summary, '$.release.finding') j WHERE released = 1;
INSERT OR IGNORE INTO label SELECT 'base', summary ->> '$.release.base', position, repository.id, private = 0
FROM repository WHERE released = 1;
INSERT OR IGNORE INTO label SELECT 'audit', summary ->> '$.release.audit', position, repository.id, private = 0
FROM repository WHERE released = 1;
INSERT OR IGNORE INTO label
SELECT 'privacy', iif(summary ->> '$.release.privacy' = 'none', 'none', 'claimed'), position, repository.id, private = 0
FROM repository WHERE released = 1;
UPDATE repository SET facets = coalesce((
    SELECT group_concat(kind || char(31) || value, char(30)) FROM label
    WHERE repository_id = repository.id AND kind NOT IN ('tag', 'namespace')
), '');
