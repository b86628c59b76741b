"""Changes of the root, the keyring that waits for signatures, and the newest timestamp."""

from __future__ import annotations

from typing import cast

from embhub_registry.database.connection import Connection


def root_changes(db: Connection) -> list[bytes]:
    """Signed changes of the root, the first one first."""
    return [row["envelope"] for row in db.execute("SELECT envelope FROM root_change ORDER BY number")]


def root_changed(db: Connection) -> str | None:
    """When the root was changed last; None where it never was."""
    return cast("str | None", db.execute("SELECT max(created) FROM root_change").fetchone()[0])


def add_root_change(db: Connection, *, number: int, envelope: bytes, now: str) -> None:
    """Store the next change; one that is there is never replaced (the primary key refuses)."""
    db.execute("INSERT INTO root_change VALUES (?, ?, ?)", (number, envelope, now))


def pending_keyring(db: Connection) -> bytes | None:
    """The keyring with the changes that no root key signed yet, or None."""
    row = db.execute("SELECT keyring FROM keyring_pending").fetchone()
    return None if row is None else row["keyring"]


def set_pending_keyring(db: Connection, keyring: bytes | None, *, now: str) -> None:
    """Keep it, or with None forget it."""
    db.execute("DELETE FROM keyring_pending")
    if keyring is not None:
        db.execute("INSERT INTO keyring_pending VALUES (1, ?, ?)", (keyring, now))


def timestamp(db: Connection) -> tuple[str, bytes] | None:
    """When the newest timestamp was issued, and its signed envelope."""
    row = db.execute("SELECT issued, envelope FROM trust_timestamp").fetchone()
    return None if row is None else (row["issued"], row["envelope"])


def set_timestamp(db: Connection, envelope: bytes, *, issued: str) -> None:
    """The newest one replaces the one before."""
    db.execute(
        "INSERT INTO trust_timestamp VALUES (1, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET envelope = excluded.envelope, issued = excluded.issued",
        (envelope, issued),
    )
