-- An approval that no key signs needs somebody who proved just now who they are: `proved` is when the person proved it who
-- made the token, in a page or for a program; NULL of tokens that an operator or a workload got.
ALTER TABLE token ADD COLUMN proved TEXT COLLATE "C";
-- Whether approvals have to be signed by the approvers' own keys.
ALTER TABLE review_rule ADD COLUMN signed BIGINT NOT NULL DEFAULT 0 CHECK (signed IN (0, 1));

-- Links for reviewers without an account: each shows one open proposal, and is found by the SHA-256 of its secret.
CREATE TABLE reviewer_link (
    id TEXT COLLATE "C" PRIMARY KEY,
    digest BYTEA NOT NULL UNIQUE,
    proposal_id TEXT COLLATE "C" NOT NULL REFERENCES proposal (id) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    purpose TEXT COLLATE "C" NOT NULL,
    created TEXT COLLATE "C" NOT NULL,
    expires TEXT COLLATE "C" NOT NULL,
    uses BIGINT NOT NULL DEFAULT 0,
    first_used TEXT COLLATE "C",
    last_used TEXT COLLATE "C"
);
CREATE INDEX reviewer_link_proposal ON reviewer_link (proposal_id);
CREATE INDEX reviewer_link_expires ON reviewer_link (expires);
CREATE INDEX reviewer_link_user ON reviewer_link (user_id);

-- The claimed epsilon of the newest release, by which lists are sorted; NULL without a claim that has a bound. Both orders
-- are walked downwards, and what has none comes last in both.
ALTER TABLE repository ADD COLUMN epsilon DOUBLE PRECISION;
UPDATE repository SET epsilon = CAST(
    CAST(replace(summary, '\u0000', '\u0020') AS json) #>> '{release,epsilon}' AS DOUBLE PRECISION)
WHERE released = 1;
CREATE INDEX repository_epsilon ON repository (coalesce(-epsilon, -1e300) DESC, id DESC);
CREATE INDEX repository_epsilon_largest ON repository (coalesce(epsilon, -1e300) DESC, id DESC);
