"""Who asked for the files of a gated repository, and what was answered."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from embhub_registry.database.connection import Connection, Row

STATUSES = ("pending", "accepted", "rejected")


@dataclass(frozen=True)
class Access:
    """One account's request; `decided_by` is None while nobody has answered it. `terms_…`: what it accepted last."""

    id: str
    user: str
    namespace: str
    status: str
    requested: str
    decided: str | None
    decided_by: str | None
    reason: str
    terms_version: int | None = None
    terms_digest: str | None = None
    terms_accepted: str | None = None


_SELECT = (
    "SELECT access.id, user.name, user.namespace, status, requested, decided, decided_by, reason, t.version, t.digest,"
    " t.accepted FROM access JOIN user ON user.id = access.user_id LEFT JOIN terms_accepted AS t"
    " ON t.repository_id = access.repository_id AND t.user_id = access.user_id AND t.version = (SELECT max(version)"
    " FROM terms_accepted WHERE repository_id = access.repository_id AND user_id = access.user_id)"
    " WHERE access.repository_id = ?"
)


def find(
    db: Connection, repository_id: int, *, user_id: int | None = None, access_id: str | None = None
) -> Access | None:
    """One request by the account or by its own id, or None."""
    condition, value = ("access.user_id", user_id) if user_id is not None else ("access.id", access_id)
    row = db.execute(f"{_SELECT} AND {condition} = ?", (repository_id, value)).fetchone()
    return None if row is None else Access(*row)


def find_all(db: Connection, repository_id: int, status: str) -> list[Access]:
    """The requests with this status, oldest first."""
    rows = db.execute(f"{_SELECT} AND status = ? ORDER BY requested, access.id", (repository_id, status))
    return [Access(*row) for row in rows]


def is_accepted(db: Connection, repository_id: int, user_id: int) -> bool:
    """Whether this account may read the files. By key, for every download."""
    statement = "SELECT 1 FROM access WHERE repository_id = ? AND user_id = ? AND status = 'accepted'"
    return db.execute(statement, (repository_id, user_id)).fetchone() is not None


def add(db: Connection, repository_id: int, user_id: int, *, status: str, now: str, decided_by: str | None) -> None:
    """A new request; `decided_by` where it is answered at once."""
    db.execute(
        "INSERT INTO access (id, repository_id, user_id, status, requested, decided, decided_by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (secrets.token_hex(12), repository_id, user_id, status, now, now if decided_by else None, decided_by),
    )


def decide(db: Connection, access_id: str, *, status: str, now: str, decided_by: str, reason: str) -> None:
    """Answer a request, or answer it anew."""
    db.execute(
        "UPDATE access SET status = ?, decided = ?, decided_by = ?, reason = ? WHERE id = ?",
        (status, now, decided_by, reason, access_id),
    )


def find_own(db: Connection, user_id: int) -> list[Row]:
    """An account's requests for repositories that are not private, newest first, with `status` and `reason`."""
    return db.execute(
        "SELECT repository.namespace, repository.name, status, requested, decided, reason FROM access"
        " JOIN repository ON repository.id = access.repository_id"
        " WHERE access.user_id = ? AND repository.private = 0 ORDER BY requested DESC, access.id",
        (user_id,),
    ).fetchall()


def find_waiting(db: Connection, namespace: str | None = None) -> list[Row]:
    """Requests that nobody has answered, of one namespace or of all, oldest first."""
    return db.execute(
        "SELECT access.id, repository.namespace, repository.name, user.name AS user, user.namespace AS home, requested,"
        " (SELECT max(version) FROM terms_accepted AS t"
        "  WHERE t.repository_id = access.repository_id AND t.user_id = access.user_id) AS terms"
        " FROM access JOIN repository ON repository.id = access.repository_id JOIN user ON user.id = access.user_id"
        " WHERE status = 'pending' AND gated <> '' AND (CAST(? AS TEXT) IS NULL OR repository.namespace = ?)"
        " ORDER BY requested, access.id",
        (namespace, namespace),
    ).fetchall()
