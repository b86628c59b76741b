"""Versions and commits that were taken back, with the reason."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

OPERATOR = "operator"  # the author of what the command line does


@dataclass(frozen=True)
class Yanked:
    """One commit that is no longer recommended: by its own id, or because its version is.

    `by` is `operator`, also for an admin of the registry, or `publisher`, the namespace itself. No person is named.
    """

    revision: str
    version: str | None
    reason: str
    date: str
    by: str


def add(
    db: sqlite3.Connection, repository_id: int, *, kind: str, which: str, reason: str, author: str, now: str
) -> bool:
    """Take a `version` or a `revision` back; False where it was taken back already."""
    statement = "INSERT OR IGNORE INTO yank VALUES (?, ?, ?, ?, ?, ?)"
    return db.execute(statement, (repository_id, kind, which, reason, author, now)).rowcount == 1


def remove(db: sqlite3.Connection, repository_id: int, *, kind: str, which: str) -> bool:
    """Recommend it again; False where it was not taken back."""
    statement = "DELETE FROM yank WHERE repository_id = ? AND kind = ? AND which = ?"
    return db.execute(statement, (repository_id, kind, which)).rowcount == 1


def of(db: sqlite3.Connection, repository_id: int) -> list[Yanked]:
    """Every commit of a repository that was taken back, oldest first; of a version also those that came later."""
    rows = db.execute(
        "SELECT revision.id, release_version, reason, min(yank.created), CASE WHEN yank.author = ? OR EXISTS"
        " (SELECT 1 FROM user JOIN membership ON user_id = user.id WHERE user.name = yank.author AND role = 'admin')"
        " THEN 'operator' ELSE 'publisher' END FROM yank"
        " JOIN revision ON revision.repository_id = yank.repository_id"
        " AND which = CASE kind WHEN 'version' THEN release_version ELSE revision.id END"
        " WHERE yank.repository_id = ? GROUP BY revision.id ORDER BY revision.created, revision.id",
        (OPERATOR, repository_id),
    )
    return [Yanked(*row) for row in rows]


def find(db: sqlite3.Connection, repository_id: int, revision_id: str) -> Yanked | None:
    """Why one commit was taken back; None where it was not."""
    return next((row for row in of(db, repository_id) if row.revision == revision_id), None)
