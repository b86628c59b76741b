"""What was deleted: the name and the reason stay, the bytes go, and a list of them stays as proof."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from embhub_registry.database.connection import Connection, Row


@dataclass(frozen=True)
class Tombstone:
    """A deleted repository; `releases` are the versions that it had published.

    `restricted` is whether its files were not everybody's: it was gated, disabled, or a release was in quarantine.
    """

    namespace: str
    name: str
    private: bool
    reason: str
    author: str
    created: str
    releases: tuple[str, ...]
    restricted: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"


def add(
    db: Connection, namespace: str, name: str, *, private: bool, reason: str, author: str, now: str,
    releases: Sequence[str], restricted: bool = False,
) -> None:  # fmt: skip
    """Remember a deleted repository."""
    values = (namespace, name, int(private), reason, author, now, json.dumps(list(releases)), int(restricted))
    db.execute(
        "INSERT INTO tombstone (namespace, name, private, reason, author, created, releases, restricted)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )


def find(db: Connection, namespace: str, name: str) -> Tombstone | None:
    """What was deleted under this name, or one that differs from it by case alone; None where nothing was."""
    row = db.execute(
        f"SELECT * FROM tombstone WHERE namespace = ? AND lower(name) = {db.dialect.lower}",  # noqa: S608  # a constant
        (namespace, name),
    ).fetchone()
    return None if row is None else _tombstone(row)


def remove(db: Connection, namespace: str, name: str) -> bool:
    """Let the name be used again; False where nothing was deleted under it."""
    return db.execute("DELETE FROM tombstone WHERE namespace = ? AND name = ?", (namespace, name)).rowcount == 1


def find_all(db: Connection) -> list[Tombstone]:
    """Everything that was deleted, by name."""
    return [_tombstone(row) for row in db.execute("SELECT * FROM tombstone ORDER BY namespace, name")]


def doom(db: Connection, digests: Iterable[str], *, repository: str, due: str) -> None:
    """Note objects that nothing names any more, to be removed at `due`."""
    db.executemany(
        "INSERT INTO purge (digest, repository, due) VALUES (?, ?, ?) ON CONFLICT (digest) DO UPDATE SET"
        " repository = excluded.repository, due = excluded.due, purged = NULL",
        [(digest, repository, due) for digest in digests],
    )


def doomed(db: Connection, *, until: str, repository: str = "") -> list[str]:
    """The objects to be removed by now, in order; of one deleted repository, or of all."""
    statement = "SELECT digest FROM purge WHERE purged IS NULL AND due <= ? AND ? IN ('', repository) ORDER BY digest"
    return [row[0] for row in db.execute(statement, (until, repository))]


def oldest_due(db: Connection) -> str | None:
    """When the first of the objects was due that are still to be removed; None where there is none."""
    return cast("str | None", db.execute("SELECT min(due) FROM purge WHERE purged IS NULL").fetchone()[0])


def kept(db: Connection) -> set[str]:
    """The objects that were not removed yet, whether that is due or not."""
    return {row[0] for row in db.execute("SELECT digest FROM purge WHERE purged IS NULL")}


def waiting(db: Connection, *, now: str) -> set[str]:
    """The objects that are kept for a while after their repository was deleted, or written."""
    return {row[0] for row in db.execute("SELECT digest FROM purge WHERE purged IS NULL AND due > ?", (now,))}


def purged(db: Connection) -> dict[str, str]:
    """Digest and repository of the objects that were removed and that no commit has brought again."""
    rows = db.execute(
        "SELECT digest, repository FROM purge WHERE purged IS NOT NULL AND digest NOT IN (SELECT digest FROM blob)"
    )
    return {row[0]: row[1] for row in rows}


def mark_purged(db: Connection, digest: str, *, now: str) -> None:
    """Note that an object is gone."""
    db.execute("UPDATE purge SET purged = ? WHERE digest = ?", (now, digest))


def spare(db: Connection, digest: str, *, until: str) -> bool:
    """Take an object off the list where a commit brought it again; True where one did, or where it is not due by now.

    It may have been brought and deleted again, to be kept longer, since the list was read.
    """
    statement = "DELETE FROM purge WHERE digest = ?1 AND EXISTS (SELECT 1 FROM blob WHERE digest = ?1)"
    if db.execute(statement, (digest,)).rowcount == 1:
        return True
    due = "SELECT 1 FROM purge WHERE digest = ? AND purged IS NULL AND due <= ?"
    return db.execute(due, (digest, until)).fetchone() is None


def _tombstone(row: Row) -> Tombstone:
    values = dict(row)
    values["private"], values["restricted"] = bool(values["private"]), bool(values["restricted"])
    values["releases"] = tuple(json.loads(values["releases"]))
    return Tombstone(**values)
