"""What a namespace holds, and the limits that are its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from embhub_registry.database.connection import Connection, Row

_HELD = (
    "FROM blob WHERE digest IN"
    " (SELECT digest FROM entry JOIN repository ON repository.id = repository_id WHERE namespace = ?1 UNION"
    " SELECT f.digest FROM proposal_file f JOIN proposal ON proposal.id = proposal_id JOIN repository"
    " ON repository.id = proposal.repository_id WHERE namespace = ?1)"
)
_MEASURE = {
    "bytes": f"SELECT coalesce(sum(size), 0) {_HELD}",  # put together from constants; values are bound
    "objects": f"SELECT count(*) {_HELD}",  # as above
    "repositories": "SELECT count(*) FROM repository WHERE namespace = ?",
    "releases": "SELECT count(*) FROM (SELECT DISTINCT repository_id, release_version FROM revision"
    " JOIN repository ON repository.id = repository_id WHERE namespace = ? AND release_version IS NOT NULL) AS found",
}


def measure(db: Connection, namespace: str, kind: str) -> int:
    """How much a namespace holds: `bytes` and `objects` (each once, in however many commits), or the others."""
    return int(db.execute(_MEASURE[kind], (namespace,)).fetchone()[0])


def of_repositories(db: Connection, namespaces: Sequence[str], *, after: int, limit: int) -> list[Row]:
    """The repositories of these namespaces by id, and the `bytes` of each: every file once, in however many commits."""
    marks = ",".join("?" * len(namespaces)) or "NULL"
    held = "SELECT digest FROM entry WHERE repository_id = r.id"
    statement = (
        f"SELECT id, namespace, name, private, modified,"  # noqa: S608  # put together from constants; values are bound
        f" (SELECT coalesce(sum(size), 0) FROM blob WHERE digest IN ({held})) AS bytes"
        f" FROM repository AS r WHERE namespace IN ({marks}) AND id > ? ORDER BY id LIMIT ?"
    )
    return list(db.execute(statement, (*namespaces, after, limit)))


def own_limits(db: Connection, namespace: str) -> dict[str, int | None]:
    """The limits that somebody set for this namespace."""
    row = db.execute(
        "SELECT max_bytes AS bytes, max_repositories AS repositories, max_releases AS releases FROM namespace"
        " WHERE name = ?",
        (namespace,),
    ).fetchone()
    return dict(row) if row is not None else dict.fromkeys(("bytes", "repositories", "releases"))


def set_own_limits(db: Connection, namespace: str, limits: Mapping[str, int | None]) -> None:
    """Set some of them; None takes one away."""
    for kind, value in limits.items():
        column = {"bytes": "max_bytes", "repositories": "max_repositories", "releases": "max_releases"}[kind]
        db.execute(f"UPDATE namespace SET {column} = ? WHERE name = ?", (value, namespace))  # noqa: S608  # put together from constants; values are bound


def totals(db: Connection) -> dict[str, int]:
    """The whole registry: objects, bytes, repositories, releases, yanked, deleted, accounts, tokens in force."""
    row = db.execute(
        "SELECT (SELECT count(*) FROM blob) AS objects, (SELECT coalesce(sum(size), 0) FROM blob) AS bytes,"
        " (SELECT count(*) FROM repository) AS repositories,"
        " (SELECT count(*) FROM revision WHERE release_version IS NOT NULL) AS releases,"
        " (SELECT count(*) FROM yank WHERE authority <> 'key-stolen') AS yanked,"
        " (SELECT count(*) FROM tombstone) AS deleted,"
        " (SELECT count(*) FROM user WHERE disabled IS NULL) AS accounts,"
        " (SELECT count(*) FROM token WHERE revoked IS NULL) AS tokens"
    ).fetchone()
    return dict(row)
