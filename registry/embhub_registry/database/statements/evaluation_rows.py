"""Evaluations by those who pulled: of each namespace the newest of an embedding, under the name it was pulled by."""

from __future__ import annotations

from dataclasses import dataclass

from embhub_registry.database.connection import Connection

_COLUMNS = "digest, namespace, repository, version, created, fingerprint, bundle, replaced, removed, reason"
_SELECT = (
    "SELECT e.digest, e.namespace, e.repository, e.version, e.created, e.fingerprint, e.bundle, e.replaced, e.removed,"
    " e.reason, coalesce(repository.private, tombstone.private + tombstone.restricted, 1) AS closed"
    " FROM evaluation AS e"
    " LEFT JOIN repository ON repository.namespace || '/' || repository.name = e.repository"
    " LEFT JOIN tombstone ON tombstone.namespace || '/' || tombstone.name = e.repository"
)


@dataclass(frozen=True)
class EvaluationRow:
    """One site's word. `namespace` is the signer's, `bundle` the signed file, `replaced` how many came before it.

    Where the operator removed it, `bundle` is None, and `removed` and `reason` say when and why. `closed` is whether
    the repository is private, or its files were not everybody's when it was deleted; of a name that is nobody's any
    more it is true.
    """

    digest: str
    namespace: str
    repository: str
    version: str
    created: str
    fingerprint: str
    bundle: bytes | None
    replaced: int = 0
    removed: str | None = None
    reason: str | None = None
    closed: bool = True

    @property
    def own(self) -> bool:
        """Whether the release's publisher signed it."""
        return self.repository.partition("/")[0] == self.namespace


def put(db: Connection, row: EvaluationRow) -> None:
    """Keep an evaluation in the place of the one that this namespace published of it before."""
    db.execute(
        f"INSERT INTO evaluation ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)"  # noqa: S608  # a constant
        " ON CONFLICT (digest, namespace, repository) DO UPDATE SET version = excluded.version,"
        " created = excluded.created, fingerprint = excluded.fingerprint, bundle = excluded.bundle,"
        " replaced = excluded.replaced, removed = NULL, reason = NULL",
        (row.digest, row.namespace, row.repository, row.version, row.created, row.fingerprint, row.bundle,
         row.replaced),
    )  # fmt: skip


def remove(db: Connection, row: EvaluationRow, *, now: str, reason: str) -> None:
    """Forget what it says; when and why stay."""
    db.execute(
        "UPDATE evaluation SET bundle = NULL, removed = ?, reason = ?"
        " WHERE digest = ? AND namespace = ? AND repository = ?",
        (now, reason, row.digest, row.namespace, row.repository),
    )


def forget(db: Connection, row: EvaluationRow) -> None:
    """Forget that an evaluation was removed."""
    db.execute(
        "DELETE FROM evaluation WHERE digest = ? AND namespace = ? AND repository = ? AND removed IS NOT NULL",
        (row.digest, row.namespace, row.repository),
    )


def forget_all(db: Connection, repository: str) -> None:
    """Forget every evaluation under a name that somebody else may get."""
    db.execute("DELETE FROM evaluation WHERE repository = ?", (repository,))


def of(db: Connection, digest: str, *, most: int) -> list[EvaluationRow]:
    """The evaluations of an embedding, the newest first."""
    return _rows(db, "WHERE e.digest = ? ORDER BY e.created DESC, e.namespace, e.repository LIMIT ?", (digest, most))


def of_repository(db: Connection, repository: str, *, most: int) -> list[EvaluationRow]:
    """Those of every version of a repository, the newest first."""
    return _rows(db, "WHERE e.repository = ? ORDER BY e.created DESC, e.namespace LIMIT ?", (repository, most))


def find(db: Connection, digest: str, *, namespace: str, repository: str) -> EvaluationRow | None:
    """What a namespace published of an embedding under this name, or None."""
    where = "WHERE e.digest = ? AND e.namespace = ? AND e.repository = ?"
    return next(iter(_rows(db, where, (digest, namespace, repository))), None)


def count(db: Connection, digest: str, *, namespace: str | None = None) -> int:
    """How many evaluations of an embedding there are, by this namespace or by all; removed ones among them."""
    statement = "SELECT count(*) FROM evaluation WHERE digest = ?1 AND (CAST(?2 AS TEXT) IS NULL OR namespace = ?2)"
    return int(db.execute(statement, (digest, namespace)).fetchone()[0])


def _rows(db: Connection, where: str, values: tuple[object, ...]) -> list[EvaluationRow]:
    found = db.execute(f"{_SELECT} {where}", values).fetchall()
    return [EvaluationRow(**{**dict(row), "closed": bool(row["closed"])}) for row in found]
