-- What is searched has its labels beside its text, as database/wording.py writes them, and whether everybody sees it in
-- pages: with a word and a facet, and for counts beside a list, no other row is read.
ALTER TABLE wording ADD COLUMN labels TEXT NOT NULL DEFAULT '';
ALTER TABLE wording ADD COLUMN shown INTEGER NOT NULL DEFAULT 0;
UPDATE wording SET
    labels = coalesce((
        SELECT char(30) || group_concat(key, char(30)) || char(30) FROM (
            SELECT kind || char(31) || replace(replace(replace(
                value, char(29), char(29) || '0'), char(30), char(29) || '1'), char(31), char(29) || '2') AS key
            FROM label WHERE label.repository_id = wording.repository_id ORDER BY key
        )
    ), char(30)),
    shown = (SELECT private = 0 AND released = 1 AND hidden = 0 FROM repository WHERE id = wording.repository_id);

DROP TRIGGER repository_shown;
CREATE TRIGGER repository_shown AFTER UPDATE OF private, released, hidden ON repository BEGIN
    UPDATE label SET shown = (new.private = 0 AND new.released = 1 AND new.hidden = 0) WHERE repository_id = new.id;
    UPDATE wording SET shown = (new.private = 0 AND new.released = 1 AND new.hidden = 0) WHERE repository_id = new.id;
END;

-- The index of words knows labels, too: each as three letters for private use, which no searched text has. Different
-- labels may share them, so `labels` is still looked at.
DROP TABLE search;
CREATE VIRTUAL TABLE search USING fts5 (words, content = '', tokenize = 'trigram case_sensitive 1');
INSERT INTO search (rowid, words) SELECT position, indexed_text(words, labels) FROM wording ORDER BY position;
