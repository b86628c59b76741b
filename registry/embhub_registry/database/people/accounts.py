"""Users, namespaces, tokens, settings and keyrings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from embhub_registry.database.connection import Connection, Row


@dataclass(frozen=True)
class Account:
    """Who a token speaks for. `token_id` is the token's public name, never the secret.

    `namespace` is the one that the account publishes in by default, `role` its role there, `memberships` its role in
    every namespace that it belongs to. `scope` bounds what the token may do of what the account may; `only` is the
    one repository that it is good for, None for all. `proved` is when the person proved who they are who made it.
    """

    user_id: int
    user: str
    namespace: str
    role: str
    token_id: str
    digest: bytes
    expires: str | None
    revoked: str | None
    scope: str = "publish"
    disabled: str | None = None
    unlimited: bool = False
    memberships: Mapping[str, str] = field(default_factory=dict)
    only: str | None = None
    proved: str | None = None

    @property
    def admin(self) -> bool:
        """Whether the account is an admin of the registry; admins are so everywhere."""
        return "admin" in self.roles

    @property
    def roles(self) -> frozenset[str]:
        """Every role that the account has anywhere."""
        return frozenset((self.role, *self.memberships.values()))

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace that the account belongs to, its own first."""
        return (self.namespace, *(name for name in sorted(self.memberships) if name != self.namespace))

    def role_in(self, namespace: str) -> str | None:
        """The account's role in a namespace; None where it does not belong to it."""
        return self.role if namespace == self.namespace else self.memberships.get(namespace)


def read_setting(db: Connection, name: str) -> str | None:
    """One setting of the registry, or None."""
    row = db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if row is None else cast(str, row[0])


def write_setting(db: Connection, name: str, value: str) -> None:
    """Set one setting."""
    db.execute(
        "INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )


def namespace_exists(db: Connection, name: str) -> bool:
    """Whether the registry knows this namespace."""
    return db.execute("SELECT 1 FROM namespace WHERE name = ?", (name,)).fetchone() is not None


def add_namespace(db: Connection, name: str, *, now: str) -> bool:
    """Create a namespace; False where it was there."""
    return (
        db.execute("INSERT INTO namespace (name, created) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, now)).rowcount
        == 1
    )


def list_namespaces(db: Connection) -> list[str]:
    """Every namespace by name."""
    return [row[0] for row in db.execute("SELECT name FROM namespace ORDER BY name")]


def find_user(db: Connection, name: str) -> Row | None:
    """One user's row, or None."""
    return cast("Row | None", db.execute("SELECT * FROM user WHERE name = ?", (name,)).fetchone())


def add_user(db: Connection, *, name: str, namespace: str, role: str, now: str) -> int:
    """Create a user with a role in its own namespace; returns the row's id."""
    statement = "INSERT INTO user (name, namespace, created) VALUES (?, ?, ?) RETURNING id"
    ((user_id,),) = db.execute(statement, (name, namespace, now)).fetchall()
    set_membership(db, user_id, namespace, role, now=now)
    return int(user_id)


def set_membership(
    db: Connection, user_id: int, namespace: str, role: str, *, now: str, given_by: str = "operator"
) -> None:
    """Give a user a role in a namespace, in place of the one it had there. `given_by` is `operator` or `provider`."""
    db.execute(
        "INSERT INTO membership (user_id, namespace, role, created, given_by) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (user_id, namespace) DO UPDATE SET role = excluded.role, created = excluded.created,"
        " given_by = excluded.given_by",
        (user_id, namespace, role, now, given_by),
    )


def given_by_provider(db: Connection, user_id: int) -> set[str]:
    """The namespaces where a user's role came from groups at a provider."""
    statement = "SELECT namespace FROM membership WHERE user_id = ? AND given_by = 'provider'"
    return {row[0] for row in db.execute(statement, (user_id,))}


def remove_membership(db: Connection, user_id: int, namespace: str) -> bool:
    """Take a user out of a namespace; False where it was not in it."""
    statement = "DELETE FROM membership WHERE user_id = ? AND namespace = ?"
    return db.execute(statement, (user_id, namespace)).rowcount == 1


def set_home(db: Connection, user_id: int, namespace: str) -> None:
    """Let an account publish by default in another of its namespaces."""
    db.execute("UPDATE user SET namespace = ? WHERE id = ?", (namespace, user_id))


def set_disabled(db: Connection, user_id: int, moment: str | None) -> None:
    """Shut a user out from `moment` on; None lets it in again."""
    db.execute("UPDATE user SET disabled = ? WHERE id = ?", (moment, user_id))


def list_users(db: Connection) -> list[Row]:
    """Users by name, with their role at home, the JSON of all roles, and the number of tokens that are not revoked."""
    roles = db.dialect.json_object("namespace", "role")
    return db.execute(
        "SELECT user.name, user.namespace, home.role, user.created, user.disabled,"  # noqa: S608  # put together from constants; values are bound
        f" (SELECT {roles} FROM membership WHERE user_id = user.id) AS memberships,"
        " count(token.id) AS tokens, max(last_used) AS last_used"
        " FROM user LEFT JOIN membership home ON home.user_id = user.id AND home.namespace = user.namespace"
        " LEFT JOIN token ON token.user_id = user.id AND token.revoked IS NULL"
        " GROUP BY user.id, home.role ORDER BY user.name"
    ).fetchall()


def roles_of(db: Connection, user_id: int) -> dict[str, str]:
    """Namespace and role of each membership."""
    statement = "SELECT namespace, role FROM membership WHERE user_id = ?"
    return {row["namespace"]: row["role"] for row in db.execute(statement, (user_id,))}


def count_admins(db: Connection) -> int:
    """How many users that are not shut out are admins."""
    statement = (
        "SELECT count(DISTINCT user_id) FROM membership JOIN user ON user.id = user_id"
        " WHERE role = 'admin' AND disabled IS NULL"
    )
    return int(db.execute(statement).fetchone()[0])


def add_token(
    db: Connection, *, token_id: str, digest: bytes, user_id: int, now: str, expires: str | None,
    scope: str = "publish", unlimited: bool = False, purpose: str = "", only: str | None = None,
    proved: str | None = None,
) -> None:  # fmt: skip
    """Remember a token by its digest; `only` is the one repository that it is good for."""
    db.execute(
        "INSERT INTO token (id, digest, user_id, created, expires, scope, unlimited, purpose, only_repository, proved)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (token_id, digest, user_id, now, expires, scope, int(unlimited), purpose, only, proved),
    )


def find_account(db: Connection, digest: bytes) -> Account | None:
    """The account behind a token's SHA-256, revoked or expired ones included."""
    roles = db.dialect.json_object("namespace", "role")
    row = db.execute(
        "SELECT user.id, user.name, user.namespace, home.role, token.id, token.digest, expires, revoked, scope,"  # noqa: S608  # put together from constants; values are bound
        " disabled, unlimited, only_repository, proved,"
        f" (SELECT {roles} FROM membership WHERE user_id = user.id)"
        " FROM token JOIN user ON user.id = token.user_id"
        " JOIN membership home ON home.user_id = user.id AND home.namespace = user.namespace"
        " WHERE token.digest = ?",
        (digest,),
    ).fetchone()
    if row is None:
        return None
    values = (*row[:10], bool(row[10]), json.loads(row[13]), row[11], row[12])
    return Account(*values)


def find_token(db: Connection, token_id: str) -> Row | None:
    """One token's row with its user's name, without the secret, or None."""
    statement = (
        "SELECT token.id, user_id, user.name AS user, token.created, expires, revoked, scope, unlimited,"
        " only_repository FROM token JOIN user ON user.id = user_id WHERE token.id = ?"
    )
    return cast("Row | None", db.execute(statement, (token_id,)).fetchone())


def end_token(db: Connection, token_id: str, moment: str) -> None:
    """Let a token expire at `moment`, where it does not before."""
    db.execute("UPDATE token SET expires = ?1 WHERE id = ?2 AND (expires IS NULL OR expires > ?1)", (moment, token_id))


def forget_tokens(db: Connection, *, ended_before: str, really: bool) -> int:
    """How many tokens were revoked or expired before a moment; removed where `really`."""
    condition = "(revoked < ?1 OR expires < ?1)"
    if really:
        return db.execute(f"DELETE FROM token WHERE {condition}", (ended_before,)).rowcount  # noqa: S608  # put together from constants; values are bound
    return int(db.execute(f"SELECT count(*) FROM token WHERE {condition}", (ended_before,)).fetchone()[0])  # noqa: S608  # put together from constants; values are bound


def list_tokens(db: Connection, *, user: str | None = None) -> list[Row]:
    """Tokens without their secret, newest first."""
    return db.execute(
        "SELECT token.id, user.name AS user, token.created, expires, revoked, last_used, scope, unlimited, disabled,"
        " purpose FROM token JOIN user ON user.id = token.user_id WHERE CAST(?1 AS TEXT) IS NULL OR user.name = ?1"
        " ORDER BY token.created DESC",
        (user,),
    ).fetchall()


def revoke_tokens(db: Connection, *, token_id: str | None = None, user: str | None = None, now: str) -> int:
    """Revoke one token, or all of a user; returns how many were in force."""
    return db.execute(
        "UPDATE token SET revoked = ?1 WHERE revoked IS NULL AND"
        " (id = ?2 OR user_id IN (SELECT id FROM user WHERE name = ?3))",
        (now, token_id, user),
    ).rowcount


def revoke_all_tokens(db: Connection, *, now: str) -> int:
    """Revoke every token; returns how many were in force."""
    return db.execute(
        "UPDATE token SET revoked = ?1 WHERE revoked IS NULL AND (expires IS NULL OR expires > ?1)", (now,)
    ).rowcount


def touch_token(db: Connection, token_id: str, *, now: str) -> None:
    """Note when a token was last used."""
    db.execute("UPDATE token SET last_used = ? WHERE id = ?", (now, token_id))


def newest_keyring(db: Connection) -> tuple[int, bytes] | None:
    """Version and signed envelope of the keyring in force."""
    row = db.execute("SELECT version, envelope FROM keyring ORDER BY version DESC LIMIT 1").fetchone()
    return None if row is None else (row[0], row[1])


def add_keyring(db: Connection, *, version: int, envelope: bytes, now: str) -> None:
    """Store the next keyring; an existing version is never replaced (the primary key refuses)."""
    db.execute("INSERT INTO keyring VALUES (?, ?, ?)", (version, envelope, now))
