-- Whether the files of a deleted repository were not everybody's: it was gated, disabled, or a release was in quarantine.
-- Evaluations of it stay hidden from everybody but its namespace. Of what was deleted earlier nothing is known.
ALTER TABLE tombstone ADD COLUMN restricted BIGINT NOT NULL DEFAULT 0;
