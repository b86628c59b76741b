"""Users, namespaces, tokens, settings and keyrings."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True)
class Account:
    """Who a token speaks for. `token_id` is the token's public name, never the secret."""

    user_id: int
    user: str
    namespace: str
    role: str
    token_id: str
    digest: bytes
    expires: str | None
    revoked: str | None


def read_setting(db: sqlite3.Connection, name: str) -> str | None:
    """One setting of the registry, or None."""
    row = db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if row is None else cast(str, row[0])


def write_setting(db: sqlite3.Connection, name: str, value: str) -> None:
    """Set one setting."""
    db.execute(
        "INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )


def namespace_exists(db: sqlite3.Connection, name: str) -> bool:
    """Whether the registry knows this namespace."""
    return db.execute("SELECT 1 FROM namespace WHERE name = ?", (name,)).fetchone() is not None


def add_namespace(db: sqlite3.Connection, name: str, *, now: str) -> bool:
    """Create a namespace; False where it was there."""
    return db.execute("INSERT OR IGNORE INTO namespace VALUES (?, ?)", (name, now)).rowcount == 1


def list_namespaces(db: sqlite3.Connection) -> list[str]:
    """Every namespace by name."""
    return [row[0] for row in db.execute("SELECT name FROM namespace ORDER BY name")]


def find_user(db: sqlite3.Connection, name: str) -> sqlite3.Row | None:
    """One user's row, or None."""
    return cast("sqlite3.Row | None", db.execute("SELECT * FROM user WHERE name = ?", (name,)).fetchone())


def add_user(db: sqlite3.Connection, *, name: str, namespace: str, role: str, now: str) -> int:
    """Create a user; returns the row's id."""
    statement = "INSERT INTO user (name, namespace, role, created) VALUES (?, ?, ?, ?)"
    return cast(int, db.execute(statement, (name, namespace, role, now)).lastrowid)


def list_users(db: sqlite3.Connection) -> list[sqlite3.Row]:
    """Users by name, with the number of tokens that are not revoked."""
    return db.execute(
        "SELECT user.name, namespace, role, user.created, count(token.id) AS tokens, max(last_used) AS last_used"
        " FROM user LEFT JOIN token ON token.user_id = user.id AND token.revoked IS NULL"
        " GROUP BY user.id ORDER BY user.name"
    ).fetchall()


def add_token(
    db: sqlite3.Connection, *, token_id: str, digest: bytes, user_id: int, now: str, expires: str | None
) -> None:
    """Remember a token by its digest."""
    statement = "INSERT INTO token (id, digest, user_id, created, expires) VALUES (?, ?, ?, ?, ?)"
    db.execute(statement, (token_id, digest, user_id, now, expires))


def find_account(db: sqlite3.Connection, digest: bytes) -> Account | None:
    """The account behind a token's SHA-256, revoked or expired ones included."""
    row = db.execute(
        "SELECT user.id, user.name, user.namespace, user.role, token.id, token.digest, token.expires, token.revoked"
        " FROM token JOIN user ON user.id = token.user_id WHERE token.digest = ?",
        (digest,),
    ).fetchone()
    return None if row is None else Account(*row)


def list_tokens(db: sqlite3.Connection, *, user: str | None = None) -> list[sqlite3.Row]:
    """Tokens without their secret, newest first."""
    return db.execute(
        "SELECT token.id, user.name AS user, token.created, expires, revoked, last_used"
        " FROM token JOIN user ON user.id = token.user_id WHERE ?1 IS NULL OR user.name = ?1"
        " ORDER BY token.created DESC",
        (user,),
    ).fetchall()


def revoke_tokens(db: sqlite3.Connection, *, token_id: str | None = None, user: str | None = None, now: str) -> int:
    """Revoke one token, or all of a user; returns how many were in force."""
    return db.execute(
        "UPDATE token SET revoked = ?1 WHERE revoked IS NULL AND"
        " (id = ?2 OR user_id IN (SELECT id FROM user WHERE name = ?3))",
        (now, token_id, user),
    ).rowcount


def touch_token(db: sqlite3.Connection, token_id: str, *, now: str) -> None:
    """Note when a token was last used."""
    db.execute("UPDATE token SET last_used = ? WHERE id = ?", (now, token_id))


def newest_keyring(db: sqlite3.Connection) -> tuple[int, bytes] | None:
    """Version and signed envelope of the keyring in force."""
    row = db.execute("SELECT version, envelope FROM keyring ORDER BY version DESC LIMIT 1").fetchone()
    return None if row is None else (row[0], row[1])


def add_keyring(db: sqlite3.Connection, *, version: int, envelope: bytes, now: str) -> None:
    """Store the next keyring; an existing version is never replaced (the primary key refuses)."""
    db.execute("INSERT INTO keyring VALUES (?, ?, ?)", (version, envelope, now))
