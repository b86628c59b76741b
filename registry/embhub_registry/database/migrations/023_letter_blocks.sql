-- Which one and two letters the searched texts of 64 places in lists hold, so that lists without them are not read. The
-- index of words has three letters and more. A letter that went stays noted: what is listed here is looked at once more.
CREATE TABLE letter_block (block INTEGER PRIMARY KEY, pairs TEXT NOT NULL) STRICT;
INSERT INTO letter_block
SELECT position / 64, letter_pairs(group_concat(words, ' ')) FROM wording
WHERE position / 64 >= (SELECT max(position) FROM repository) / 64 - 640 GROUP BY position / 64;
