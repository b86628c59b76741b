"""What an account holds here, and how each of it ends when the account leaves."""

from __future__ import annotations

import hashlib

from embhub_registry.database.connection import Connection, Row
from embhub_registry.database.logs import outbox
from embhub_registry.database.people import sessions as session_rows

# Where a name stands beside what an account did. Commits are not among them: their ids are computed from it.
NAMED = (
    ("access", "decided_by"), ("terms", "author"), ("yank", "author"), ("tombstone", "author"),
    ("trusted_publisher", "created_by"), ("proposal", "author"), ("proposal", "decided_by"),
    ("approval", "approver"), ("review_rule", "author"), ("invite", "user_name"),
    ("quarantine", "author"),
)  # fmt: skip


def last_publisher_of(db: Connection, user_id: int) -> list[str]:
    """The namespaces in which nobody else who is not shut out may publish, workloads left aside."""
    statement = (
        "SELECT namespace FROM membership AS own WHERE user_id = ?1 AND role IN ('publisher', 'admin') AND NOT EXISTS"
        " (SELECT 1 FROM membership AS other JOIN user ON user.id = other.user_id WHERE other.namespace = own.namespace"
        " AND other.user_id <> ?1 AND other.role IN ('publisher', 'admin') AND user.disabled IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM trusted_publisher WHERE trusted_publisher.user_id = user.id))"
        " ORDER BY namespace"
    )
    return [row[0] for row in db.execute(statement, (user_id,))]


def repositories_of(db: Connection, namespace: str) -> list[str]:
    """Full names of a namespace's repositories."""
    statement = "SELECT namespace, name FROM repository WHERE namespace = ? ORDER BY name"
    return [f"{row[0]}/{row[1]}" for row in db.execute(statement, (namespace,))]


def holdings(db: Connection, user_id: int, *, name: str, now: str) -> dict[str, int]:
    """How many of each an account has in force."""
    counted = {
        "tokens": ("SELECT count(*) FROM token WHERE user_id = ?1 AND revoked IS NULL"
                   " AND (expires IS NULL OR expires > ?2)", (user_id, now)),
        "sessions": ("SELECT count(*) FROM session WHERE user_id = ?1 AND expires > ?2", (user_id, now)),
        "passkeys": ("SELECT count(*) FROM passkey WHERE user_id = ?", (user_id,)),
        "totp": ("SELECT count(*) FROM totp WHERE user_id = ?", (user_id,)),
        "webhooks": ("SELECT count(*) FROM webhook WHERE user_id = ?", (user_id,)),
        "memberships": ("SELECT count(*) FROM membership WHERE user_id = ?", (user_id,)),
        "access": ("SELECT count(*) FROM access WHERE user_id = ? AND status <> 'rejected'", (user_id,)),
        "trusted_publishers": ("SELECT count(*) FROM trusted_publisher WHERE created_by = ? AND ended IS NULL",
                               (name,)),
        "commits": ("SELECT count(*) FROM revision WHERE author = ?", (name,)),
    }  # fmt: skip
    return {what: int(db.execute(*asked).fetchone()[0]) for what, asked in counted.items()}


def end_everything(db: Connection, user_id: int, *, now: str, reason: str) -> None:
    """End all by which an account can get in, all that it is told, and all its roles; it is shut out from now on."""
    db.execute("UPDATE token SET revoked = ? WHERE user_id = ? AND revoked IS NULL", (now, user_id))
    session_rows.end_all(db, user_id)
    for table in (
        "login_link",
        "login_attempt",
        "passkey",
        "recovery_code",
        "totp",
        "delivery",
        "membership",
        "reviewer_link",
    ):
        db.execute(f"DELETE FROM {table} WHERE user_id = ?", (user_id,))  # noqa: S608  # names of ours
    outbox.remove_webhooks(db, user_id)
    db.execute(
        "UPDATE access SET status = 'rejected', decided = ?, reason = ? WHERE user_id = ? AND status <> 'rejected'",
        (now, reason, user_id),
    )
    db.execute(
        "UPDATE user SET disabled = COALESCE(disabled, ?), left_at = ?, mail = '' WHERE id = ?", (now, now, user_id)
    )


def publishers_made_by(db: Connection, name: str, *, namespace: str | None = None) -> list[Row]:
    """The trusted publishers in force that somebody registered, in one namespace or in all."""
    statement = (
        "SELECT id, repository, issuer, user_id FROM trusted_publisher WHERE created_by = ?1 AND ended IS NULL"
        " AND (CAST(?2 AS TEXT) IS NULL OR namespace = ?2) ORDER BY repository, id"
    )
    return db.execute(statement, (name, namespace)).fetchall()


def erase_name(db: Connection, user_id: int, *, name: str, pseudonym: str, now: str) -> None:
    """Put a pseudonym in place of an account's name, where no id is computed from it; nobody gets the name again."""
    for table, column in NAMED:
        db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (pseudonym, name))  # noqa: S608  # names of ours
    db.execute("UPDATE user SET name = ? WHERE id = ?", (pseudonym, user_id))
    db.execute("UPDATE token SET purpose = '' WHERE user_id = ?", (user_id,))
    db.execute("INSERT INTO erased_name (digest, erased) VALUES (?, ?) ON CONFLICT DO NOTHING", (_digest(name), now))


def is_erased(db: Connection, name: str) -> bool:
    """Whether somebody had this name and it was erased."""
    return db.execute("SELECT 1 FROM erased_name WHERE digest = ?", (_digest(name),)).fetchone() is not None


def _digest(name: str) -> bytes:
    return hashlib.sha256(f"embhub user {name}".encode()).digest()
