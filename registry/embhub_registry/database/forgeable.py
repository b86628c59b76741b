"""Commits whose release rests on the signature of a key that was stolen: its thief could have made it."""

from __future__ import annotations

from collections.abc import Iterable

from embhub.release.files import PUBLISH_BUNDLE
from embhub_registry.database.connection import Connection, Row


def signed_commits(db: Connection) -> list[Row]:
    """Every commit with a publish attestation: `repository_id`, `namespace`, `name`, `revision_id`, `publish`.

    The last is the digest of the attestation.
    """
    return db.execute(
        "SELECT repository_id, namespace, name, revision_id, digest AS publish FROM entry"
        " JOIN repository ON repository.id = repository_id WHERE path = ?",
        (PUBLISH_BUNDLE,),
    ).fetchall()


def replace(db: Connection, rows: Iterable[tuple[int, str, str, str]]) -> set[int]:
    """Note repository, commit, fingerprint and date of each, and no others; returns repositories where it changed."""
    before = {tuple(row) for row in db.execute("SELECT * FROM forgeable")}
    after = set(rows)
    db.execute("DELETE FROM forgeable")
    db.executemany("INSERT INTO forgeable VALUES (?, ?, ?, ?)", sorted(after))
    return {int(row[0]) for row in before ^ after}


def versions(db: Connection, repository_id: int) -> frozenset[str]:
    """The versions of a repository that no commit with a good signature holds: they do not count as published."""
    rows = db.execute(
        "SELECT release_version FROM revision LEFT JOIN forgeable ON"
        " forgeable.repository_id = revision.repository_id AND revision_id = id"
        " WHERE revision.repository_id = ? AND release_version IS NOT NULL"
        " GROUP BY release_version HAVING count(fingerprint) = count(*)",
        (repository_id,),
    )
    return frozenset(str(row[0]) for row in rows)


def holds(db: Connection, repository_id: int, revision_id: str) -> bool:
    """Whether this commit's release is one of them."""
    statement = "SELECT 1 FROM forgeable WHERE repository_id = ? AND revision_id = ?"
    return db.execute(statement, (repository_id, revision_id)).fetchone() is not None
