"""The page of a release, and what it is made from."""
