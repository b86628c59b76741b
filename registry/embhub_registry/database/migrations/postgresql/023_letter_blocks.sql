-- rolling: a table, which a trigger keeps for older programs, too, and an index.
-- Which one and two letters the searched texts of 64 places in lists hold, so that lists without them are not read. The
-- index of words has three letters and more. A letter that went stays noted: what is listed here is looked at once more.
CREATE TABLE letter_block (block BIGINT PRIMARY KEY, pairs TEXT COLLATE "C" NOT NULL);

CREATE FUNCTION letter_pairs(words TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(string_agg(DISTINCT pair, ' '), '') FROM (
        SELECT rtrim(letter || coalesce(lead(letter) OVER (ORDER BY place), ''), ' ') COLLATE "C" AS pair
        FROM unnest(string_to_array(words, NULL)) WITH ORDINALITY AS letters (letter, place)
    ) AS pairs WHERE pair <> '' AND strpos(pair, ' ') = 0
$$;

CREATE FUNCTION note_letters() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    held TEXT;
    more TEXT;
BEGIN
    SELECT pairs INTO held FROM letter_block WHERE block = new.position / 64;
    IF NOT FOUND THEN
        INSERT INTO letter_block VALUES (new.position / 64, letter_pairs(new.words));
        RETURN NULL;
    END IF;
    SELECT string_agg(pair, ' ') INTO more FROM (
        SELECT string_to_table(letter_pairs(new.words), ' ') COLLATE "C"
        EXCEPT SELECT string_to_table(held, ' ') COLLATE "C"
    ) AS new_pairs (pair);
    IF more IS NOT NULL THEN
        UPDATE letter_block SET pairs = held || ' ' || more WHERE block = new.position / 64;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER wording_letters AFTER INSERT OR UPDATE OF words, position ON wording
FOR EACH ROW EXECUTE FUNCTION note_letters();

INSERT INTO letter_block
SELECT position / 64, letter_pairs(string_agg(words, ' ')) FROM wording
WHERE position / 64 >= (SELECT max(position) FROM repository) / 64 - 640 GROUP BY position / 64;

-- The index of words once more, with the names of the two bands that a row's place is in: database/bands.py. Older
-- programs use the index that is there, `wording_words`.
DO $$
DECLARE
    home TEXT;
BEGIN
    SELECT nspname INTO home FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
    WHERE extname = 'pg_trgm';
    EXECUTE format($index$
        CREATE INDEX wording_banded ON wording USING gin ((
            words || ' x' || translate(lpad(to_hex(position / 16384), 4, '0'), '0123456789abcdef', 'qxzjwvkyhfgpbmdc')
            || ' z' || translate(lpad(to_hex(position / 262144), 4, '0'), '0123456789abcdef', 'qxzjwvkyhfgpbmdc')
        ) %I.gin_trgm_ops)
    $index$, home);
END $$;
