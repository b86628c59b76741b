"""Sessions of people in browsers, by the digest of their cookie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from embhub_registry.database.connection import Connection, Row
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account

PREFIX = "session-"  # of a session's id, which stands where an access token's id would


@dataclass(frozen=True)
class Session:
    """A person's session and its account; `confirmed` is when the person last proved who they are."""

    id: str
    account: Account
    method: str
    created: str
    confirmed: str
    last_used: str
    expires: str


def add(
    db: Connection, *, session_id: str, digest: bytes, user_id: int, method: str, now: str, confirmed: str, expires: str
) -> None:
    """Remember a session by its digest."""
    db.execute(
        "INSERT INTO session (id, digest, user_id, method, created, confirmed, last_used, expires)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (session_id, digest, user_id, method, now, confirmed, now, expires),
    )


def find(db: Connection, digest: bytes, *, now: str, idle_since: str) -> Session | None:
    """The session in force behind a cookie's SHA-256; None where it ended, was idle, or its account is disabled."""
    row = db.execute(
        "SELECT session.id, session.digest, method, session.created, confirmed, last_used, expires,"
        " session.user_id, user.name, user.namespace, home.role"
        " FROM session JOIN user ON user.id = session.user_id"
        " JOIN membership home ON home.user_id = user.id AND home.namespace = user.namespace"
        " WHERE session.digest = ? AND expires > ? AND last_used > ? AND user.disabled IS NULL",
        (digest, now, idle_since),
    ).fetchone()
    if row is None:
        return None
    account = Account(
        row["user_id"], row["name"], row["namespace"], row["role"], row["id"], row["digest"], row["expires"], None,
        scope="read", memberships=accounts.roles_of(db, row["user_id"]),
    )  # fmt: skip
    times = (row["created"], row["confirmed"], row["last_used"], row["expires"])
    return Session(row["id"], account, row["method"], *times)


def find_all(db: Connection, user_id: int, *, now: str, idle_since: str) -> list[Row]:
    """The sessions in force of an account, newest first."""
    return db.execute(
        "SELECT id, method, created, last_used, expires FROM session"
        " WHERE user_id = ? AND expires > ? AND last_used > ? ORDER BY created DESC, id",
        (user_id, now, idle_since),
    ).fetchall()


def touch(db: Connection, session_id: str, *, now: str) -> None:
    """Note when a session was last used."""
    db.execute("UPDATE session SET last_used = ? WHERE id = ? AND last_used < ?", (now, session_id, now))


def end(db: Connection, session_id: str) -> bool:
    """End one; False where it was not there."""
    return db.execute("DELETE FROM session WHERE id = ?", (session_id,)).rowcount == 1


def end_all(db: Connection, user_id: int | None = None) -> int:
    """End every session, of one account or of all; returns how many."""
    if user_id is None:
        return db.execute("DELETE FROM session").rowcount
    db.execute("DELETE FROM login_link WHERE user_id = ? AND used IS NULL", (user_id,))
    db.execute("DELETE FROM device_request WHERE user_id = ?", (user_id,))
    return db.execute("DELETE FROM session WHERE user_id = ?", (user_id,)).rowcount


def any_ended(db: Connection, *, now: str) -> bool:
    """Whether something here is over and can be forgotten."""
    found = (db.execute(f"SELECT 1 FROM {table} WHERE expires <= ? LIMIT 1", (now,)) for table in _ENDING)  # noqa: S608  # names of ours
    return any(rows.fetchone() for rows in found)


def forget_ended(db: Connection, *, now: str) -> int:
    """Remove sessions, links, attempts, device requests and marks of used tokens that are over; returns how many."""
    return sum(db.execute(f"DELETE FROM {table} WHERE expires <= ?", (now,)).rowcount for table in _ENDING)  # noqa: S608  # names of ours


def forget_all(db: Connection) -> int:
    """End everything that lets somebody in: after a restore; returns how many sessions there were."""
    count = end_all(db)
    for table in _ENDING[1:]:
        db.execute(f"DELETE FROM {table}")  # noqa: S608  # names of ours
    return count


_ENDING = ("session", "login_link", "login_attempt", "device_request", "workload_token_seen", "reviewer_link")


def find_user(db: Connection, user_id: int) -> Row | None:
    """One user's row by its id, or None."""
    return cast("Row | None", db.execute("SELECT * FROM user WHERE id = ?", (user_id,)).fetchone())
