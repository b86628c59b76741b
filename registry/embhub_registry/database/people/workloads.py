"""Trusted publishers: which workloads may publish where, and which of their tokens were used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from embhub_registry.database.connection import Connection, Row


@dataclass(frozen=True)
class Publisher:
    """A rule: tokens of `issuer` for `audience` with these claims may publish in `repository`, as `user`."""

    id: str
    user_id: int
    user: str
    namespace: str
    repository: str
    issuer: str
    audience: str
    claims: Mapping[str, str]
    scope: str
    created: str
    created_by: str
    ended: str | None


_SELECT = (
    "SELECT p.id, user_id, user.name, p.namespace, repository, issuer, audience, claims, scope, p.created,"
    " created_by, ended FROM trusted_publisher AS p JOIN user ON user.id = p.user_id"
)


def add(
    db: Connection, identity: str, user_id: int, *, namespace: str, repository: str, issuer: str, audience: str,
    claims: Mapping[str, str], scope: str, created_by: str, now: str,
) -> None:  # fmt: skip
    """Remember a trusted publisher."""
    db.execute(
        "INSERT INTO trusted_publisher (id, user_id, namespace, repository, issuer, audience, claims, scope, created,"
        " created_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (identity, user_id, namespace, repository, issuer, audience, json.dumps(dict(claims), sort_keys=True), scope,
         now, created_by),
    )  # fmt: skip


def find(db: Connection, identity: str) -> Publisher | None:
    """One by its id, or None."""
    row = db.execute(f"{_SELECT} WHERE p.id = ?", (identity,)).fetchone()
    return None if row is None else _read(row)


def find_in_force(db: Connection, *, repository: str, issuer: str) -> list[Publisher]:
    """Those of one repository that take tokens of one issuer, oldest first."""
    statement = (
        f"{_SELECT} WHERE repository = ? AND issuer = ? AND ended IS NULL AND user.disabled IS NULL"
        " ORDER BY p.created, p.id"
    )
    return [_read(row) for row in db.execute(statement, (repository, issuer))]


def list_all(db: Connection, namespace: str | None = None) -> list[Publisher]:
    """Those of one namespace, or all, newest first; ended ones included."""
    statement = f"{_SELECT} WHERE CAST(?1 AS TEXT) IS NULL OR p.namespace = ?1 ORDER BY p.created DESC, p.id"
    return [_read(row) for row in db.execute(statement, (namespace,))]


def count_in_force(db: Connection, namespace: str) -> int:
    """How many a namespace has."""
    statement = "SELECT count(*) FROM trusted_publisher WHERE namespace = ? AND ended IS NULL"
    return int(db.execute(statement, (namespace,)).fetchone()[0])


def end(db: Connection, identity: str, *, now: str) -> bool:
    """End one and the access tokens that it was given; False where it had ended."""
    ended = db.execute("UPDATE trusted_publisher SET ended = ? WHERE id = ? AND ended IS NULL", (now, identity))
    db.execute(
        "UPDATE token SET revoked = ? WHERE revoked IS NULL"
        " AND user_id = (SELECT user_id FROM trusted_publisher WHERE id = ?)",
        (now, identity),
    )
    return ended.rowcount == 1


def is_workload(db: Connection, user_id: int) -> bool:
    """Whether an account is a trusted publisher's own: no person logs in to it."""
    return db.execute("SELECT 1 FROM trusted_publisher WHERE user_id = ?", (user_id,)).fetchone() is not None


def registered_by(db: Connection, user_id: int) -> str | None:
    """Who registered the trusted publisher whose account this is; None where it is no workload's."""
    row = db.execute("SELECT created_by FROM trusted_publisher WHERE user_id = ?", (user_id,)).fetchone()
    return None if row is None else str(row[0])


def has_ended(db: Connection, user_id: int) -> bool:
    """Whether an account is that of a trusted publisher which is trusted no more."""
    statement = "SELECT 1 FROM trusted_publisher WHERE user_id = ? AND ended IS NOT NULL"
    return db.execute(statement, (user_id,)).fetchone() is not None


def use_once(db: Connection, digest: bytes, *, expires: str) -> bool:
    """Count a workload's token as used; False where it was used before."""
    statement = "INSERT INTO workload_token_seen (digest, expires) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING"
    return db.execute(statement, (digest, expires)).rowcount == 1


def _read(row: Row) -> Publisher:
    values = list(row)
    values[7] = json.loads(values[7])
    return Publisher(*values)
