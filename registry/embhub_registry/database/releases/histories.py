"""A commit and its ancestors."""

from __future__ import annotations

from embhub_registry.database.connection import Connection
from embhub_registry.database.releases.repositories import Revision


def read(db: Connection, repository_id: int, head: str, *, limit: int = 1000) -> list[Revision]:
    """A commit and its ancestors, newest first."""
    rows = db.execute(
        "WITH RECURSIVE line (depth, id) AS (SELECT 1, id FROM revision WHERE repository_id = ?1 AND id = ?2 UNION ALL"
        " SELECT depth + 1, parent FROM line JOIN revision r ON r.repository_id = ?1 AND r.id = line.id"
        " WHERE parent IS NOT NULL AND depth < ?3)"
        " SELECT r.id, parent, author, created, title, message, release_version"
        " FROM line JOIN revision r ON r.repository_id = ?1 AND r.id = line.id ORDER BY depth",
        (repository_id, head, limit),
    )
    return [Revision(*row) for row in rows]


def count(db: Connection, repository_id: int, head: str, *, without: frozenset[str]) -> int:
    """How many commits a commit and its ancestors are, those of `without` left out."""
    rows = db.execute(
        "WITH RECURSIVE line (id) AS (SELECT id FROM revision WHERE repository_id = ?1 AND id = ?2 UNION ALL"
        " SELECT parent FROM line JOIN revision r ON r.repository_id = ?1 AND r.id = line.id WHERE parent IS NOT NULL)"
        " SELECT id FROM line",
        (repository_id, head),
    )
    return sum(row[0] not in without for row in rows)
