"""Releases that were set aside while they are looked at: which commits, why, and where `main` stood before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from embhub_registry.database.connection import Connection
from embhub_registry.database.releases.number_rows import SAME


@dataclass(frozen=True)
class SetAside:
    """One commit that is set aside, with the SHA-256 of its embedding. `author` is an admin, or `operator`."""

    revision: str
    version: str | None
    digest: str
    reason: str
    author: str
    date: str


@dataclass(frozen=True)
class Displaced:
    """`main` stood at `before` and was moved to `after`."""

    before: str
    after: str


def add(
    db: Connection, repository_id: int, commits: Iterable[str], *, digest: str, reason: str, author: str, now: str
) -> None:
    """Set commits aside that hold these bytes; one that is set aside already keeps its row."""
    db.executemany(
        "INSERT INTO quarantine (repository_id, revision_id, digest, reason, author, created)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(repository_id, commit, digest, reason, author, now) for commit in commits],
    )
    _mark(db, repository_id)


def lift(db: Connection, repository_id: int, digest: str) -> int:
    """Show the commits with these bytes again; returns how many were set aside."""
    statement = "DELETE FROM quarantine WHERE repository_id = ? AND digest = ?"
    lifted = db.execute(statement, (repository_id, digest)).rowcount
    _mark(db, repository_id)
    return lifted


def of(db: Connection, repository_id: int) -> list[SetAside]:
    """What is set aside in a repository, oldest commit first."""
    rows = db.execute(
        "SELECT revision.id, release_version, digest, reason, quarantine.author, quarantine.created FROM quarantine"
        " JOIN revision ON revision.repository_id = quarantine.repository_id AND revision.id = revision_id"
        " WHERE quarantine.repository_id = ? ORDER BY revision.created, revision.id",
        (repository_id,),
    )
    return [SetAside(*row) for row in rows]


def repositories(db: Connection) -> list[int]:
    """The ids of repositories in which something is set aside."""
    statement = "SELECT id FROM repository WHERE set_aside = 1 ORDER BY namespace, name"
    return [int(row[0]) for row in db.execute(statement)]


def commits(db: Connection, repository_id: int) -> frozenset[str]:
    """The commits of a repository that are set aside."""
    rows = db.execute("SELECT revision_id FROM quarantine WHERE repository_id = ?", (repository_id,))
    return frozenset(str(row[0]) for row in rows)


def hides(db: Connection, namespace: str, name: str, commit: str) -> bool:
    """Whether a commit of the repository of this name, in any case, is set aside."""
    statement = (
        "SELECT 1 FROM quarantine JOIN repository ON repository.id = repository_id"  # noqa: S608  # a dialect's word
        f" WHERE namespace = ? AND lower(name) = {db.dialect.lower} AND revision_id = ?"
    )
    return db.execute(statement, (namespace, name, commit)).fetchone() is not None


def has_bytes(db: Connection, digest: str, *, repository_id: int | None = None) -> bool:
    """Whether these bytes or numbers are set aside, in this repository or (None) in any."""
    wanted = "(CAST(?2 AS BIGINT) IS NULL OR repository_id = ?2)"
    statement = f"SELECT 1 FROM quarantine WHERE digest IN {SAME} AND {wanted} LIMIT 1"  # noqa: S608  # constants
    return db.execute(statement, (digest, repository_id)).fetchone() is not None


def displaced(db: Connection, repository_id: int) -> Displaced | None:
    """Where `main` was moved; None where it was not."""
    row = db.execute(
        "SELECT main_before, main_after FROM quarantine WHERE repository_id = ? AND main_before IS NOT NULL LIMIT 1",
        (repository_id,),
    ).fetchone()
    return None if row is None else Displaced(*row)


def note_main(db: Connection, repository_id: int, moved: Displaced | None) -> None:
    """Note where `main` was moved, with every row of the repository."""
    before, after = (moved.before, moved.after) if moved else (None, None)
    db.execute(
        "UPDATE quarantine SET main_before = ?, main_after = ? WHERE repository_id = ?", (before, after, repository_id)
    )


def _mark(db: Connection, repository_id: int) -> None:
    db.execute(
        "UPDATE repository SET set_aside = CASE WHEN EXISTS (SELECT 1 FROM quarantine WHERE repository_id = ?1)"
        " THEN 1 ELSE 0 END WHERE id = ?1",
        (repository_id,),
    )
