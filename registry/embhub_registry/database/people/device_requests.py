"""Programs that wait for a person to approve an access token (RFC 8628)."""

from __future__ import annotations

from typing import cast

from embhub_registry.database.connection import Connection, Row


def add(
    db: Connection, digest: bytes, *, user_code: str, address: str, client: str, scope: str, days: int,
    patience: int, expires: str,
) -> None:  # fmt: skip
    """Remember a program's request by the digest of its device code."""
    db.execute(
        "INSERT INTO device_request (digest, user_code, address, client, scope, days, patience, expires, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending')",
        (digest, user_code, address, client, scope, days, patience, expires),
    )


def list_waiting(db: Connection, *, now: str) -> list[Row]:
    """Digest and address of all that wait, the oldest first."""
    statement = "SELECT digest, address FROM device_request WHERE expires > ? ORDER BY expires, digest"
    return db.execute(statement, (now,)).fetchall()


def find(db: Connection, digest: bytes) -> Row | None:
    """The request behind a device code, or None."""
    return cast("Row | None", db.execute("SELECT * FROM device_request WHERE digest = ?", (digest,)).fetchone())


def find_pending(db: Connection, user_code: str, *, now: str) -> Row | None:
    """The request that shows this code and still waits, or None."""
    statement = "SELECT * FROM device_request WHERE user_code = ? AND state = 'pending' AND expires > ?"
    return cast("Row | None", db.execute(statement, (user_code, now)).fetchone())


def answer(db: Connection, user_code: str, *, state: str, user_id: int, now: str) -> bool:
    """Approve or deny a request that waits; False where none does. `polled` is from then on when it was answered."""
    statement = (
        "UPDATE device_request SET state = ?1, user_id = ?2, polled = ?4"
        " WHERE user_code = ?3 AND state = 'pending' AND expires > ?4"
    )
    return db.execute(statement, (state, user_id, user_code, now)).rowcount == 1


def note_poll(db: Connection, digest: bytes, *, now: str, patience: int) -> None:
    """Note when the program asked, and how many seconds it has to leave between two questions."""
    db.execute("UPDATE device_request SET polled = ?, patience = ? WHERE digest = ?", (now, patience, digest))


def remove(db: Connection, digest: bytes) -> bool:
    """Take a request out; False where somebody else was faster."""
    return db.execute("DELETE FROM device_request WHERE digest = ?", (digest,)).rowcount == 1
