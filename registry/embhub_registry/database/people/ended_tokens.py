"""Tokens whose end has come are revoked, so that a clock that is put back revives none."""

from __future__ import annotations

from typing import cast

from embhub_registry.database.connection import Connection


def oldest_ended(db: Connection) -> str | None:
    """The end of the token that ended first, of those that are not revoked; also an end that is to come."""
    return cast("str | None", db.execute("SELECT min(expires) FROM token WHERE revoked IS NULL").fetchone()[0])


def any_ended(db: Connection, *, now: str) -> bool:
    """Whether a token has ended that is not yet revoked."""
    statement = "SELECT 1 FROM token WHERE revoked IS NULL AND expires <= ? LIMIT 1"
    return db.execute(statement, (now,)).fetchone() is not None


def retire(db: Connection, *, now: str) -> int:
    """Revoke them as of their end; returns how many. Whoever lists them tells the two apart by the equal times."""
    return db.execute("UPDATE token SET revoked = expires WHERE revoked IS NULL AND expires <= ?", (now,)).rowcount
