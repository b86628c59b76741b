-- A name that differs in case, `.`, `_` or `-` alone is found by a key, also while a download waits for the answer.
CREATE INDEX repository_near ON repository (namespace, replace(replace(lower(name), '.', '-'), '_', '-'));
