"""Invitations: rows by the digest of their code."""

from __future__ import annotations

from typing import cast

from embhub_registry.database.connection import Connection, Row


def add(
    db: Connection, digest: bytes, *, invite_id: str, user: str, namespace: str, role: str, days: int, now: str,
    expires: str,
) -> None:  # fmt: skip
    """Remember an invitation."""
    db.execute(
        "INSERT INTO invite (digest, id, user_name, namespace, role, days, created, expires)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (digest, invite_id, user, namespace, role, days, now, expires),
    )


def open_for(db: Connection, user: str, *, now: str) -> bool:
    """Whether an invitation for an account of this name can still be used."""
    statement = "SELECT 1 FROM invite WHERE user_name = ? AND used IS NULL AND revoked IS NULL AND expires > ?"
    return db.execute(statement, (user, now)).fetchone() is not None


def use(db: Connection, digest: bytes, *, now: str) -> Row | None:
    """Use up the invitation with this code; None where there is none that can be used, whoever was first."""
    statement = (
        "UPDATE invite SET used = ? WHERE digest = ? AND used IS NULL AND revoked IS NULL AND expires > ?"
        " RETURNING id, user_name, namespace, role, days"
    )
    return cast("Row | None", db.execute(statement, (now, digest, now)).fetchone())


def every(db: Connection) -> list[Row]:
    """All of them, newest first; no digest."""
    statement = (
        "SELECT id, user_name, namespace, role, created, expires, used, revoked FROM invite ORDER BY created DESC, id"
    )
    return db.execute(statement).fetchall()


def revoke_all(db: Connection, *, now: str) -> None:
    """End all that were not used: after a restore some were, at a time that is gone."""
    db.execute("UPDATE invite SET revoked = ? WHERE used IS NULL AND revoked IS NULL", (now,))


def revoke(db: Connection, invite_id: str, *, now: str) -> bool:
    """End one that was not used; False where there is none."""
    statement = "UPDATE invite SET revoked = ? WHERE id = ? AND used IS NULL AND revoked IS NULL"
    return db.execute(statement, (now, invite_id)).rowcount == 1
