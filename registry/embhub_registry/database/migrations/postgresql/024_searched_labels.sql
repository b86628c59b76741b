-- What is searched has its labels beside its text, as database/wording.py writes them, and whether everybody sees it in
-- pages: with a word and a facet, and for counts beside a list, no other row is read. The index of words knows labels and
-- places, too, and skips rows that lack one of them. A place is there as the numbers of its two bands of 4,096 and 65,536
-- places (database/bands.py), those of wide ones below 0.
CREATE FUNCTION labels_of(wanted BIGINT) RETURNS TEXT LANGUAGE sql STABLE AS $$
    SELECT coalesce(chr(30) || string_agg(key, chr(30) ORDER BY key COLLATE "C") || chr(30), chr(30)) FROM (
        SELECT kind || chr(31) || replace(replace(replace(
            value, chr(29), chr(29) || '0'), chr(30), chr(29) || '1'), chr(31), chr(29) || '2') AS key
        FROM label WHERE repository_id = wanted
    ) AS keys
$$;
CREATE FUNCTION is_shown(wanted BIGINT) RETURNS BIGINT LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN private = 0 AND released = 1 AND hidden = 0 THEN 1 ELSE 0 END FROM repository WHERE id = wanted
$$;

DROP INDEX wording_words;
DROP INDEX wording_banded;
ALTER TABLE wording ADD COLUMN labels TEXT COLLATE "C" NOT NULL DEFAULT '', ADD COLUMN shown BIGINT NOT NULL DEFAULT 0;
-- The table is written anew: an UPDATE would leave each row there twice.
ALTER TABLE wording ALTER COLUMN labels TYPE TEXT COLLATE "C" USING labels_of(repository_id),
    ALTER COLUMN shown TYPE BIGINT USING is_shown(repository_id);
DROP FUNCTION labels_of, is_shown;

CREATE OR REPLACE FUNCTION show_labels() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    now_shown BIGINT := CASE WHEN new.private = 0 AND new.released = 1 AND new.hidden = 0 THEN 1 ELSE 0 END;
BEGIN
    UPDATE label SET shown = now_shown WHERE repository_id = new.id;
    UPDATE wording SET shown = now_shown WHERE repository_id = new.id;
    RETURN NULL;
END $$;

DO $$
DECLARE
    home TEXT;
BEGIN
    SELECT nspname INTO home FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
    WHERE extname = 'pg_trgm';
    EXECUTE format($index$
        CREATE INDEX wording_found ON wording USING gin (
            words %I.gin_trgm_ops, string_to_array(labels, chr(30)), (ARRAY[position / 4096, -1 - position / 65536])
        )
    $index$, home);
END $$;
