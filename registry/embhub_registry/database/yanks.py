"""Commits that are no longer recommended: yanked, withdrawn with their bytes, or signed by a key that was stolen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from embhub.release.files import EMBEDDING
from embhub_registry.database.connection import Connection, Row
from embhub_registry.database.number_rows import SAME

Authority = Literal["publisher", "operator"]
OPERATOR = "operator"  # the author of what the command line does
_ORDER = ("key-stolen", "operator", "publisher")


@dataclass(frozen=True)
class Yanked:
    """One commit that is no longer recommended: by its own id, because its version is, or because its bytes are.

    `by` is `operator`, also for an admin of the registry, `publisher`, the namespace itself, or `key-stolen`. No person
    is named. `scope` is `release` or `bytes`.
    """

    revision: str
    version: str | None
    reason: str
    date: str
    by: str
    scope: str = "release"


def add(
    db: Connection, repository_id: int, *, kind: str, which: str, reason: str, author: str, now: str,
    authority: Authority, scope: str,
) -> bool:  # fmt: skip
    """Take a `version` or a `revision` back; False where this authority took it back already, no less widely."""
    statement = (
        "INSERT INTO yank VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (repository_id, kind, which, authority)"
        " DO UPDATE SET scope = excluded.scope,"
        " reason = excluded.reason, author = excluded.author, created = excluded.created"
        " WHERE yank.scope = 'release' AND excluded.scope = 'bytes'"
    )
    values = (repository_id, kind, which, authority, scope, reason, author, now)
    return db.execute(statement, values).rowcount == 1


def authorities(db: Connection, repository_id: int, *, kind: str, which: str) -> set[str]:
    """Who took this version or revision back."""
    statement = "SELECT authority FROM yank WHERE repository_id = ? AND kind = ? AND which = ?"
    return {str(row[0]) for row in db.execute(statement, (repository_id, kind, which))}


def remove(db: Connection, repository_id: int, *, kind: str, which: str, authority: Authority | None) -> bool:
    """Lift the yank of one authority, or (None) of all; False where there was none."""
    statement = (
        "DELETE FROM yank WHERE repository_id = ? AND kind = ? AND which = ? AND authority = coalesce(?, authority)"
    )
    return db.execute(statement, (repository_id, kind, which, authority)).rowcount > 0


def narrow(db: Connection, digest: str) -> None:
    """Let the yanks of every commit with these bytes bind their release alone."""
    db.execute(
        "UPDATE yank SET scope = 'release' WHERE EXISTS (SELECT 1 FROM revision JOIN entry ON"  # noqa: S608  # a constant
        " entry.repository_id = revision.repository_id AND revision_id = revision.id AND path = ?2"
        f" AND entry.digest IN {SAME} WHERE revision.repository_id = yank.repository_id"
        " AND which = CASE kind WHEN 'version' THEN release_version ELSE revision.id END)",
        (digest, EMBEDDING),
    )


def of(db: Connection, repository_id: int) -> list[Yanked]:
    """Every commit of a repository that is not recommended, oldest first; of a version also those that came later.

    A commit stands once: for the stolen key, else the operator's word, else the publisher's.
    """
    rows = db.execute(
        "SELECT revision.id, release_version, reason, yank.created AS date, authority AS by, scope,"
        " revision.created AS place FROM yank JOIN revision ON revision.repository_id = yank.repository_id"
        " AND which = CASE kind WHEN 'version' THEN release_version ELSE revision.id END"
        " WHERE yank.repository_id = ?1"
        " UNION ALL SELECT revision.id, release_version, reason, withdrawal.created, authority, scope,"
        " revision.created FROM revision JOIN repository ON repository.id = revision.repository_id"
        " JOIN entry ON entry.repository_id = revision.repository_id AND revision_id = revision.id AND path = ?2"
        " LEFT JOIN numbers AS mine ON mine.file = entry.digest"
        " LEFT JOIN numbers AS other ON other.digest = mine.digest"
        " JOIN withdrawal ON withdrawal.digest = coalesce(other.file, entry.digest) AND scope = 'bytes'"
        " AND lifted IS NULL"
        " AND (authority = 'operator' OR withdrawal.namespace = repository.namespace)"
        " WHERE revision.repository_id = ?1 AND release_version IS NOT NULL"
        " UNION ALL SELECT revision.id, release_version, ?3, stolen, 'key-stolen', 'release', revision.created"
        " FROM forgeable JOIN revision ON revision.repository_id = forgeable.repository_id"
        " AND revision.id = revision_id WHERE forgeable.repository_id = ?1",
        (repository_id, EMBEDDING, STOLEN),
    ).fetchall()
    rows.sort(key=lambda row: (row["place"], row["id"], _ORDER.index(row["by"]), row["scope"] != "bytes", row["date"]))
    found: dict[str, Yanked] = {}
    for row in rows:
        found.setdefault(row["id"], Yanked(*tuple(row)[:6]))
    return list(found.values())


STOLEN = "the key that signed it was reported stolen, and no other good signature vouches for it"


def find(db: Connection, repository_id: int, revision_id: str) -> Yanked | None:
    """Why one commit is not recommended, as `of` has it; None where it is. Reads rows by their keys, for downloads."""
    row = db.execute(
        "SELECT release_version FROM revision WHERE repository_id = ? AND id = ?", (repository_id, revision_id)
    ).fetchone()
    version = row[0] if row else None
    yanked = "SELECT reason, created, authority, scope FROM yank WHERE repository_id = ? AND kind = ? AND which = ?"
    rows = db.execute(yanked, (repository_id, "revision", revision_id)).fetchall()
    if version is not None:
        rows += db.execute(yanked, (repository_id, "version", version)).fetchall()
        rows += _withdrawn_bytes(db, repository_id, revision_id)
    rows += db.execute(
        "SELECT ?, stolen, 'key-stolen', 'release' FROM forgeable WHERE repository_id = ? AND revision_id = ?",
        (STOLEN, repository_id, revision_id),
    ).fetchall()
    found = [Yanked(revision_id, version, *tuple(row)) for row in rows]
    return min(found, key=lambda one: (_ORDER.index(one.by), one.scope != "bytes", one.date), default=None)


def _withdrawn_bytes(db: Connection, repository_id: int, revision_id: str) -> list[Row]:
    """Withdrawals of the bytes that a release commit holds, which bind its namespace."""
    entry = "SELECT digest FROM entry WHERE repository_id = ? AND revision_id = ? AND path = ?"
    held = db.execute(entry, (repository_id, revision_id, EMBEDDING)).fetchone()
    if held is None:
        return []
    (namespace,) = db.execute("SELECT namespace FROM repository WHERE id = ?", (repository_id,)).fetchone()
    return db.execute(
        f"SELECT reason, created, authority, scope FROM withdrawal WHERE digest IN {SAME} AND scope = 'bytes'"  # noqa: S608  # a constant
        " AND lifted IS NULL AND (authority = 'operator' OR namespace = ?2)",
        (held[0], namespace),
    ).fetchall()
