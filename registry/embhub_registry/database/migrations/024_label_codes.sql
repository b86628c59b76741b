-- The index of words knows labels, too: each as three letters for private use, which no searched text has
-- (`wording.label_code`). Rows that have a word and lack a label are then never looked at. Different labels may share a
-- code, so `label` is still asked.
ALTER TABLE wording ADD COLUMN labels TEXT NOT NULL DEFAULT '';
UPDATE wording SET labels = coalesce((
    SELECT group_concat(code, ' ') FROM (
        SELECT label_code(kind, value) AS code FROM label WHERE label.repository_id = wording.repository_id ORDER BY code
    )
), '');
DROP TABLE search;
CREATE VIEW searched (position, words) AS SELECT position, words || ' ' || labels FROM wording;
CREATE VIRTUAL TABLE search USING fts5 (
    words, content = 'searched', content_rowid = 'position', tokenize = 'trigram case_sensitive 1'
);
INSERT INTO search (search) VALUES ('rebuild');
