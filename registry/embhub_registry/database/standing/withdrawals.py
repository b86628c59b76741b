"""Withdrawals of releases and of bytes, what they block, and the advisories that tell of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from embhub.release.files import EMBEDDING
from embhub_registry.database.connection import Connection, Row
from embhub_registry.database.releases.number_rows import SAME


@dataclass(frozen=True)
class Withdrawal:
    """One withdrawal, as the table has it; `private` is how its repository is now, or was when it was deleted.

    `numbers` is the digest of the numbers of the file with this `digest`, where it is known.
    """

    repository: str
    namespace: str
    version: str
    digest: str
    private: bool
    scope: str
    authority: str
    reason: str
    created: str
    lifted: str | None = None
    numbers: str | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.scope, self.authority, self.version, self.digest


@dataclass(frozen=True)
class Commit:
    """A commit that holds a release: its version, and the digest of its embedding."""

    revision: str
    version: str
    digest: str


def commits(db: Connection, repository_id: int) -> list[Commit]:
    """Every release commit of a repository."""
    rows = db.execute(
        "SELECT revision.id, release_version, entry.digest FROM revision JOIN entry ON"
        " entry.repository_id = revision.repository_id AND entry.revision_id = revision.id AND path = ?"
        " WHERE revision.repository_id = ? AND release_version IS NOT NULL ORDER BY revision.created, revision.id",
        (EMBEDDING, repository_id),
    )
    return [Commit(*row) for row in rows]


def in_force(db: Connection, repository_id: int) -> dict[tuple[str, str, str, str], int]:
    """The withdrawals of a present repository that hold: scope, authority, version and digest, with their numbers."""
    rows = db.execute(
        "SELECT number, scope, authority, version, digest FROM withdrawal WHERE repository_id = ? AND lifted IS NULL",
        (repository_id,),
    )
    return {(row["scope"], row["authority"], row["version"], row["digest"]): row["number"] for row in rows}


def add(db: Connection, row: Withdrawal, *, repository_id: int | None) -> None:
    """Note a withdrawal."""
    db.execute(
        "INSERT INTO withdrawal (repository_id, repository, namespace, version, digest, private, scope, authority,"
        " reason, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (repository_id, row.repository, row.namespace, row.version, row.digest, int(row.private), row.scope,
         row.authority, row.reason, row.created),
    )  # fmt: skip


def lift(db: Connection, numbers: Iterable[int], *, now: str) -> None:
    """End some withdrawals; they stay on record."""
    db.executemany("UPDATE withdrawal SET lifted = ? WHERE number = ?", [(now, number) for number in numbers])


def lift_bytes(db: Connection, digest: str, *, now: str) -> int:
    """End every withdrawal of these bytes, or of these numbers under another header; returns how many held."""
    statement = f"UPDATE withdrawal SET lifted = ?2 WHERE digest IN {SAME} AND scope = 'bytes' AND lifted IS NULL"  # noqa: S608  # a constant
    return db.execute(statement, (digest, now)).rowcount


def detach(db: Connection, repository_id: int) -> None:
    """Keep the withdrawals of a repository that is being deleted: its name may be used again, they may not be lost."""
    db.execute(
        "UPDATE withdrawal SET private = (SELECT private FROM repository WHERE id = ?1), repository_id = NULL"
        " WHERE repository_id = ?1",
        (repository_id,),
    )


def blocking(db: Connection, digest: str, *, namespace: str) -> Withdrawal | None:
    """Why these bytes may not be published in a namespace: the operator's word first; None where nothing forbids it.

    What was withdrawn under another header forbids them too, once the numbers of `digest` are in the table.
    """
    row = db.execute(
        f"SELECT {_COLUMNS} WHERE withdrawal.digest IN {SAME} AND scope = 'bytes' AND lifted IS NULL"
        " AND (authority = 'operator' OR withdrawal.namespace = ?2) ORDER BY authority, number LIMIT 1",
        (digest, namespace),
    ).fetchone()
    return None if row is None else _withdrawal(row)


def all_rows(db: Connection) -> list[Withdrawal]:
    """Every withdrawal, lifted ones included, oldest first."""
    rows = db.execute(f"SELECT {_COLUMNS} ORDER BY number")  # put together from constants
    return [_withdrawal(row) for row in rows]


def of_bytes(db: Connection, digest: str) -> list[Withdrawal]:
    """The withdrawals of the bytes with this SHA-256 that are in force, whomever they bind."""
    rows = db.execute(
        f"SELECT {_COLUMNS} WHERE withdrawal.digest = ? AND scope = 'bytes' AND lifted IS NULL ORDER BY number",
        (digest,),
    )
    return [_withdrawal(row) for row in rows]


def names(db: Connection, digest: str) -> bool:
    """Whether a withdrawal, in force or lifted, is of the bytes with this SHA-256."""
    return db.execute("SELECT 1 FROM withdrawal WHERE digest = ? LIMIT 1", (digest,)).fetchone() is not None


def holders(db: Connection, digest: str) -> list[tuple[int, str, str]]:
    """Repositories with a release of these bytes or numbers in any commit: id, namespace, name."""
    rows = db.execute(
        "SELECT DISTINCT repository.id, namespace, name FROM entry JOIN repository ON repository.id = repository_id"  # noqa: S608  # a constant
        f" WHERE entry.digest IN {SAME} AND path = ?2 ORDER BY namespace, name",
        (digest, EMBEDDING),
    )
    return [(row["id"], row["namespace"], row["name"]) for row in rows]


def feed(db: Connection) -> Row | None:
    """The advisories as they were signed last: `number`, `content`, `envelope`."""
    row: Row | None = db.execute("SELECT number, content, envelope FROM advisory_feed").fetchone()
    return row


def set_feed(db: Connection, *, number: int, content: str, envelope: bytes) -> None:
    """Serve these advisories from now on."""
    db.execute(
        "INSERT INTO advisory_feed VALUES (1, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET number = excluded.number,"
        " content = excluded.content, envelope = excluded.envelope",
        (number, content, envelope),
    )


_COLUMNS = (
    "withdrawal.repository, withdrawal.namespace, version, withdrawal.digest,"
    " coalesce(present.private, withdrawal.private) AS private, scope, authority, reason, withdrawal.created, lifted,"
    " numbers.digest AS numbers"
    " FROM withdrawal LEFT JOIN repository AS present ON present.id = withdrawal.repository_id"
    " LEFT JOIN numbers ON numbers.file = withdrawal.digest"
)


def _withdrawal(row: Row) -> Withdrawal:
    return Withdrawal(**{**dict(row), "private": bool(row["private"])})
