-- The index of words knows labels and places, too: GIN skips rows that lack one of them. A label is there as three
-- letters for private use, which no searched text has (`wording.label_code`), a place as the numbers of its two bands of
-- 4,096 and 65,536 places (database/bands.py), those of wide ones below 0. Different labels may share a code, so `label` is still asked.
CREATE FUNCTION label_code(kind TEXT, value TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
    SELECT string_agg(chr(57344 + (get_byte(digest, at) * 256 + get_byte(digest, at + 1)) % 6400), '' ORDER BY at)
    FROM (VALUES (sha256(convert_to(kind || chr(31) || value, 'UTF8')))) AS hashed (digest), (VALUES (0), (2), (4)) AS bytes (at)
$$;
CREATE FUNCTION label_codes(wanted BIGINT) RETURNS TEXT LANGUAGE sql STABLE AS $$
    SELECT coalesce(string_agg(code, ' ' ORDER BY code COLLATE "C"), '')
    FROM (SELECT label_code(kind, value) AS code FROM label WHERE repository_id = wanted) AS codes
$$;

DROP INDEX wording_words;
DROP INDEX wording_banded;
ALTER TABLE wording ADD COLUMN labels TEXT COLLATE "C" NOT NULL DEFAULT '';
-- The table is written anew: an UPDATE would leave each row there twice.
ALTER TABLE wording ALTER COLUMN labels TYPE TEXT COLLATE "C" USING label_codes(repository_id);
DROP FUNCTION label_codes;
DROP FUNCTION label_code;

DO $$
DECLARE
    home TEXT;
BEGIN
    SELECT nspname INTO home FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
    WHERE extname = 'pg_trgm';
    EXECUTE format($index$
        CREATE INDEX wording_found ON wording USING gin (
            words %I.gin_trgm_ops, string_to_array(labels, ' '), (ARRAY[position / 4096, -1 - position / 65536])
        )
    $index$, home);
END $$;
