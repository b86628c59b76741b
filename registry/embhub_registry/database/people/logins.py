"""What people prove who they are by: one-time links, TOTP, recovery codes, passkeys, identities at a provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from embhub_registry.database.connection import Connection, Row


def add_link(db: Connection, digest: bytes, user_id: int, *, expires: str) -> None:
    """A link that lets an account in once; links of the same account that are not used yet end."""
    db.execute("DELETE FROM login_link WHERE user_id = ? AND used IS NULL", (user_id,))
    db.execute("INSERT INTO login_link (digest, user_id, expires) VALUES (?, ?, ?)", (digest, user_id, expires))


def use_link(db: Connection, digest: bytes, *, now: str) -> int | None:
    """Use up a link; the account's id, None where the link is unknown, used or over."""
    row = db.execute(
        "UPDATE login_link SET used = ? WHERE digest = ? AND used IS NULL AND expires > ? RETURNING user_id",
        (now, digest, now),
    ).fetchone()
    return None if row is None else int(row[0])


def link_holds(db: Connection, digest: bytes, *, now: str) -> bool:
    """Whether a link could be used now."""
    statement = "SELECT 1 FROM login_link WHERE digest = ? AND used IS NULL AND expires > ?"
    return db.execute(statement, (digest, now)).fetchone() is not None


def find_totp(db: Connection, user_id: int) -> Row | None:
    """The account's TOTP: `secret` (encrypted), `confirmed`, `last_step`; None without one."""
    statement = "SELECT secret, created, confirmed, last_step FROM totp WHERE user_id = ?"
    return cast("Row | None", db.execute(statement, (user_id,)).fetchone())


def set_totp(db: Connection, user_id: int, secret: bytes, *, now: str, step: int) -> None:
    """Keep a secret whose first code, of `step`, was right, in place of an earlier one."""
    db.execute(
        "INSERT INTO totp (user_id, secret, created, confirmed, last_step) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, created = excluded.created,"
        " confirmed = excluded.confirmed, last_step = excluded.last_step",
        (user_id, secret, now, now, step),
    )


def use_totp_step(db: Connection, user_id: int, step: int) -> bool:
    """Count a code's time step as used; False where it, or a later one, was used before."""
    statement = "UPDATE totp SET last_step = ? WHERE user_id = ? AND last_step < ? AND confirmed IS NOT NULL"
    return db.execute(statement, (step, user_id, step)).rowcount == 1


def remove_totp(db: Connection, user_id: int) -> bool:
    """Forget the account's TOTP and its recovery codes; False where there was none."""
    db.execute("DELETE FROM recovery_code WHERE user_id = ?", (user_id,))
    return db.execute("DELETE FROM totp WHERE user_id = ?", (user_id,)).rowcount == 1


def set_recovery_codes(db: Connection, user_id: int, digests: Sequence[bytes], *, now: str) -> None:
    """Codes that each let the account in once, in place of earlier ones."""
    db.execute("DELETE FROM recovery_code WHERE user_id = ?", (user_id,))
    for digest in digests:
        db.execute("INSERT INTO recovery_code (digest, user_id, created) VALUES (?, ?, ?)", (digest, user_id, now))


def use_recovery_code(db: Connection, user_id: int, digest: bytes, *, now: str) -> bool:
    """Use up a code; False where it is not one of the account's, or was used."""
    statement = "UPDATE recovery_code SET used = ? WHERE digest = ? AND user_id = ? AND used IS NULL"
    return db.execute(statement, (now, digest, user_id)).rowcount == 1


def count_recovery_codes(db: Connection, user_id: int) -> int:
    """How many are left."""
    statement = "SELECT count(*) FROM recovery_code WHERE user_id = ? AND used IS NULL"
    return int(db.execute(statement, (user_id,)).fetchone()[0])


def add_passkey(
    db: Connection, credential: bytes, user_id: int, *, public_key: bytes, sign_count: int, name: str, now: str
) -> bool:
    """Keep a passkey; False where somebody has registered the same one."""
    return (
        db.execute(
            "INSERT INTO passkey (credential, user_id, public_key, sign_count, name, created) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (credential) DO NOTHING",
            (credential, user_id, public_key, sign_count, name, now),
        ).rowcount
        == 1
    )


def find_passkey(db: Connection, credential: bytes) -> Row | None:
    """One passkey with its account's id, or None."""
    statement = "SELECT credential, user_id, public_key, sign_count FROM passkey WHERE credential = ?"
    return cast("Row | None", db.execute(statement, (credential,)).fetchone())


def find_passkeys(db: Connection, user_id: int) -> list[Row]:
    """The account's passkeys, oldest first."""
    statement = "SELECT credential, name, created, last_used FROM passkey WHERE user_id = ? ORDER BY created, name"
    return db.execute(statement, (user_id,)).fetchall()


def use_passkey(db: Connection, credential: bytes, *, sign_count: int, now: str) -> None:
    """Note the use of a passkey and the count that it states."""
    statement = "UPDATE passkey SET sign_count = ?, last_used = ? WHERE credential = ?"
    db.execute(statement, (sign_count, now, credential))


def remove_passkey(db: Connection, user_id: int, credential: bytes) -> bool:
    """Forget one of the account's passkeys; False where it has none such."""
    statement = "DELETE FROM passkey WHERE user_id = ? AND credential = ?"
    return db.execute(statement, (user_id, credential)).rowcount == 1


def add_attempt(
    db: Connection, digest: bytes, *, kind: str, challenge: str, verifier: str = "", expires: str,
    user_id: int | None = None, replaces: str | None = None, address: str = "",
) -> None:  # fmt: skip
    """Remember what is expected back from a browser or a provider; `replaces` is the session that ends then.

    `address` is where it was begun; of IPv6 its first 64 bits.
    """
    db.execute(
        "INSERT INTO login_attempt (digest, kind, user_id, challenge, verifier, replaces, expires, address)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (digest, kind, user_id, challenge, verifier, replaces, expires, address),
    )


def use_attempt(db: Connection, digest: bytes, *, kind: str, now: str) -> Row | None:
    """Take an attempt out: it counts once. None where it is unknown or over."""
    statement = (
        "DELETE FROM login_attempt WHERE digest = ? AND kind = ? AND expires > ?"
        " RETURNING user_id, challenge, verifier, replaces"
    )
    return cast("Row | None", db.execute(statement, (digest, kind, now)).fetchone())


def count_attempts(db: Connection) -> int:
    """How many logins are under way."""
    return int(db.execute("SELECT count(*) FROM login_attempt").fetchone()[0])


def drop_most_crowded(db: Connection) -> None:
    """Forget the oldest login under way of the address that has begun the most."""
    db.execute(
        "DELETE FROM login_attempt WHERE digest IN (SELECT digest FROM login_attempt WHERE address ="
        " (SELECT address FROM login_attempt GROUP BY address ORDER BY count(*) DESC, address LIMIT 1)"
        " ORDER BY expires, digest LIMIT 1)"
    )


def find_identity(db: Connection, issuer: str, subject: str) -> int | None:
    """The account of somebody at a provider, or None."""
    statement = "SELECT user_id FROM identity WHERE issuer = ? AND subject = ?"
    row = db.execute(statement, (issuer, subject)).fetchone()
    return None if row is None else int(row[0])


def add_identity(db: Connection, issuer: str, subject: str, user_id: int, *, now: str) -> None:
    """Bind somebody at a provider to an account."""
    statement = "INSERT INTO identity (issuer, subject, user_id, created) VALUES (?, ?, ?, ?)"
    db.execute(statement, (issuer, subject, user_id, now))


def has_identity(db: Connection, user_id: int) -> bool:
    """Whether the account logs in at a provider."""
    return db.execute("SELECT 1 FROM identity WHERE user_id = ? LIMIT 1", (user_id,)).fetchone() is not None
