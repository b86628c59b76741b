"""Commits that are no longer recommended: yanked, withdrawn with their bytes, or signed by a key that was stolen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from embhub.release.files import EMBEDDING, PUBLISH_BUNDLE
from embhub_registry.database.connection import Connection, Row
from embhub_registry.database.releases.number_rows import SAME

Authority = Literal["publisher", "site", "operator"]
OPERATOR = "operator"  # the author of what the command line does
STOLEN = "the key that signed it was reported stolen, and no other good signature vouches for it"
_ORDER = ("key-stolen", "operator", "site", "publisher")
_IS_STOLEN = "authority = 'key-stolen' AND kind = 'revision'"
_MARKED = (
    "SELECT revision.id, release_version, reason, yank.created AS date, authority AS by, scope,"
    " revision.created AS place FROM revision JOIN yank ON yank.repository_id = revision.repository_id"
)
_NOT_RECOMMENDED = (
    f"{_MARKED} AND kind = 'revision' AND which = revision.id WHERE revision.repository_id = ?1{{one}}"  # noqa: S608  # constants
    f" UNION ALL {_MARKED} AND kind = 'version' AND which = release_version WHERE revision.repository_id = ?1{{one}}"
    " UNION ALL SELECT revision.id, release_version, reason, withdrawal.created, authority, scope, revision.created"
    " FROM revision JOIN repository ON repository.id = revision.repository_id"
    " JOIN entry ON entry.repository_id = revision.repository_id AND revision_id = revision.id AND path = ?2"
    " LEFT JOIN numbers AS mine ON mine.file = entry.digest LEFT JOIN numbers AS other ON other.digest = mine.digest"
    " JOIN withdrawal ON withdrawal.digest = coalesce(other.file, entry.digest) AND scope = 'bytes' AND lifted IS NULL"
    " AND (authority = 'operator' OR withdrawal.namespace = repository.namespace)"
    " WHERE revision.repository_id = ?1 AND release_version IS NOT NULL{one}"
)


@dataclass(frozen=True)
class Yanked:
    """One commit that is no longer recommended: by its own id, because its version is, or because its bytes are.

    `by` is `operator`, also for an admin of the registry, `publisher`, the namespace itself, `site`, another one of
    the study that the release came from, or `key-stolen`. No person is named. `scope` is `release` or `bytes`.
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
    """Who took this version or revision back and may recommend it again: nobody does where a key was stolen."""
    statement = (
        "SELECT authority FROM yank WHERE repository_id = ? AND kind = ? AND which = ? AND authority <> 'key-stolen'"
    )
    return {str(row[0]) for row in db.execute(statement, (repository_id, kind, which))}


def remove(db: Connection, repository_id: int, *, kind: str, which: str, authority: Authority | None) -> bool:
    """Lift the yank of one authority, or (None) of both; False where there was none."""
    statement = (
        "DELETE FROM yank WHERE repository_id = ? AND kind = ? AND which = ? AND authority = coalesce(?, authority)"
        " AND authority <> 'key-stolen'"
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


def of(db: Connection, repository_id: int, revision_id: str | None = None) -> list[Yanked]:
    """Every commit of a repository that is not recommended, oldest first; of a version also those that came later.

    A commit stands once: for the stolen key, else the operator's word, else a site's, else the publisher's. With
    `revision_id` that commit alone, for downloads: rows are read by their keys.
    """
    one = "" if revision_id is None else " AND revision.id = ?3"
    rows = db.execute(
        _NOT_RECOMMENDED.format(one=one), (repository_id, EMBEDDING, *([] if revision_id is None else [revision_id]))
    ).fetchall()
    rows.sort(key=lambda row: (row["place"], row["id"], _ORDER.index(row["by"]), row["scope"] != "bytes", row["date"]))
    found: dict[str, Yanked] = {}
    for row in rows:
        found.setdefault(row["id"], Yanked(*tuple(row)[:6]))
    return list(found.values())


def find(db: Connection, repository_id: int, revision_id: str) -> Yanked | None:
    """Why one commit is not recommended, as `of` has it; None where it is."""
    return next(iter(of(db, repository_id, revision_id)), None)


def marks(db: Connection, repository_id: int) -> list[Row]:
    """The yanks as they were made: `kind`, `which`, `authority`, `scope`, `reason`, `created`."""
    statement = "SELECT * FROM yank WHERE repository_id = ? ORDER BY created"
    return db.execute(statement, (repository_id,)).fetchall()


def signed_commits(db: Connection) -> list[Row]:
    """Every commit with a publish attestation: `repository_id`, `namespace`, `name`, `revision_id`, `publish`.

    The last is the digest of the attestation.
    """
    return db.execute(
        "SELECT repository_id, namespace, name, revision_id, digest AS publish FROM entry"
        " JOIN repository ON repository.id = repository_id WHERE path = ?",
        (PUBLISH_BUNDLE,),
    ).fetchall()


def replace_stolen(db: Connection, rows: Iterable[tuple[int, str, str, str]]) -> set[int]:
    """Note repository, commit, fingerprint and date of each that a thief could have signed, and no others.

    Returns the repositories where that changed.
    """
    before = db.execute(f"SELECT repository_id, which, author, created FROM yank WHERE {_IS_STOLEN}")  # noqa: S608  # a constant
    after = set(rows)
    changed = {tuple(row) for row in before} ^ after
    db.execute(f"DELETE FROM yank WHERE {_IS_STOLEN}")  # noqa: S608  # a constant
    db.executemany(
        "INSERT INTO yank (repository_id, kind, which, authority, scope, reason, author, created)"
        " VALUES (?, 'revision', ?, 'key-stolen', 'release', ?, ?, ?)",
        [(repository, commit, STOLEN, key, date) for repository, commit, key, date in sorted(after)],
    )
    return {int(row[0]) for row in changed}


def stolen_versions(db: Connection, repository_id: int) -> frozenset[str]:
    """The versions of a repository that no commit with a good signature holds: they do not count as published."""
    rows = db.execute(
        "SELECT release_version FROM revision LEFT JOIN yank ON yank.repository_id = revision.repository_id"  # noqa: S608  # a constant
        f" AND which = id AND {_IS_STOLEN} WHERE revision.repository_id = ? AND release_version IS NOT NULL"
        " GROUP BY release_version HAVING count(which) = count(*)",
        (repository_id,),
    )
    return frozenset(str(row[0]) for row in rows)
