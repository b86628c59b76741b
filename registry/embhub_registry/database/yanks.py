"""Versions and commits that were taken back, with the reason."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True)
class Yanked:
    """One commit that is no longer recommended: by its own id, or because its version is."""

    revision: str
    version: str | None
    reason: str
    date: str


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
        "SELECT revision.id, release_version, reason, min(yank.created) FROM yank"
        " JOIN revision ON revision.repository_id = yank.repository_id"
        " AND which = CASE kind WHEN 'version' THEN release_version ELSE revision.id END"
        " WHERE yank.repository_id = ? GROUP BY revision.id ORDER BY revision.created, revision.id",
        (repository_id,),
    )
    return [Yanked(*row) for row in rows]


def find(db: sqlite3.Connection, repository_id: int, revision_id: str) -> Yanked | None:
    """Why one commit was taken back; None where it was not."""
    return next((row for row in of(db, repository_id) if row.revision == revision_id), None)
