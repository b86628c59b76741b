"""Sessions of people in browsers: 256 random bits in a cookie, their SHA-256 here, an end that comes soon.

A session identifies; it carries the scope `read` alone. What changes anything is a form, checked by `wire.forms`, and
what changes rights asks again who somebody is (`is_confirmed`).
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from embhub_registry.database import Connection
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import accounts, logins, workloads
from embhub_registry.database.people import sessions as rows
from embhub_registry.database.people.sessions import Session
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people import auth
from embhub_registry.people.rate_limits import site_of
from embhub_registry.storage import configuration
from embhub_registry.storage.audit.actors import present
from embhub_registry.storage.folder import Registry

CONFIRMED_FOR = timedelta(minutes=5)  # how long a proof of identity counts for a change of rights
_OWN = ("totp", "recovery", "passkey")
MOST_ATTEMPTS = 10_000  # logins under way that are remembered at once


@dataclass(frozen=True)
class NewSession:
    """A session as its cookie carries it, and how long the browser may keep it."""

    id: str
    secret: str
    seconds: int
    user: str


def begin(
    registry: Registry, user_id: int, *, method: str, replaces: str | None = None, proved: datetime | None = None
) -> NewSession:  # fmt: skip
    """A session with a new secret; the one that it `replaces` ends, so that a known cookie is worth nothing after.

    Raises:
        RequestDeniedError: 403 where the account is disabled or gone.
    """
    hours = configuration.number(registry.database.connection(), "session.hours")
    secret, session_id = secrets.token_urlsafe(32), rows.PREFIX + secrets.token_hex(6)
    with registry.database.writing() as db:
        user = rows.find_user(db, user_id)
        if user is None or user["disabled"] is not None:
            raise RequestDeniedError(403, "login", "this account is disabled", "ask the registry's operator")
        if workloads.is_workload(db, user_id):
            raise RequestDeniedError(403, "login", "this account is a workload's", "log in with an account of your own")
        if method in _OWN and logins.has_identity(db, user_id):  # else no group that is taken away is ever noticed
            raise RequestDeniedError(403, "login", "this account logs in at its organisation", "use that button")
        if replaces is not None:
            rows.end(db, replaces)
        expires = stamp(now() + timedelta(hours=hours))
        rows.add(
            db, session_id=session_id, digest=auth.digest(secret), user_id=user_id, method=method, now=stamp(),
            confirmed=stamp(proved), expires=expires,
        )  # fmt: skip
    registry.audit_log.write("login", actor=user["name"], user=user["name"], method=method, session=session_id)
    return NewSession(session_id, secret, int(hours * 3600), str(user["name"]))


def find(db: Connection, secret: str) -> Session | None:
    """The session of a cookie; None where it is unknown, over, was idle for too long, or its account is disabled."""
    if not 20 <= len(secret) <= 100:
        return None
    found = rows.find(db, auth.digest(secret), now=stamp(), idle_since=_idle_since(db))
    return found if found and hmac.compare_digest(found.account.digest, auth.digest(secret)) else None


def form_token(secret: str) -> str:
    """What a form of this cookie's holder carries (synchroniser token): nobody can compute it without the cookie."""
    return base64.urlsafe_b64encode(hmac.digest(secret.encode(), b"embhub form", "sha256")).decode().rstrip("=")


def is_confirmed(session: Session) -> bool:
    """Whether the person proved who they are within the last minutes."""
    since = now() - datetime.fromisoformat(session.confirmed)
    return timedelta(seconds=-5) <= since <= CONFIRMED_FOR


def end(registry: Registry, session: Session, *, session_id: str | None = None) -> None:
    """Log out: this session, or another one of the same account."""
    ended = session_id or session.id
    with registry.database.writing() as db:
        mine = {row["id"] for row in rows.find_all(db, session.account.user_id, now="", idle_since="")}
        gone = ended in mine and rows.end(db, ended)
    if gone:
        registry.audit_log.write("logout", user=session.account.user, session=ended)


def end_all(registry: Registry, user_id: int, *, user: str) -> int:
    """Log an account out everywhere; returns how many sessions ended."""
    with registry.database.writing() as db:
        count = rows.end_all(db, user_id)
    registry.audit_log.write("logout-everywhere", user=user, count=count)
    return count


def list_sessions(db: Connection, user_id: int) -> list[dict[str, Any]]:
    """The account's sessions in force, newest first."""
    return [dict(row) for row in rows.find_all(db, user_id, now=stamp(), idle_since=_idle_since(db))]


def forget_ended(registry: Registry) -> int:
    """Remove what is over, if anything is; returns how much."""
    if not rows.any_ended(registry.database.connection(), now=stamp()):
        return 0
    with registry.database.writing() as db:
        return rows.forget_ended(db, now=stamp())


def make_link(registry: Registry, user: str, *, minutes: int) -> tuple[str, str]:
    """The secret of a one-time login link for an account, and its end; an earlier unused one ends.

    Raises:
        KeyError: no such account.
    """
    secret, expires = auth.PREFIX + secrets.token_urlsafe(32), stamp(now() + timedelta(minutes=minutes))
    with registry.database.writing() as db:
        row = accounts.find_user(db, user)
        if row is None:
            raise KeyError(user)
        logins.add_link(db, auth.digest(secret), row["id"], expires=expires)
    registry.audit_log.write("login-link-made", user=user, expires=expires)
    return secret, expires


def use_link(registry: Registry, secret: str, *, replaces: str | None = None) -> NewSession:
    """A session for the holder of a one-time link.

    Raises:
        RequestDeniedError: 403 where the link is unknown, was used, or is over.
    """
    with registry.database.writing() as db:
        user_id = logins.use_link(db, auth.digest(secret), now=stamp())
    if user_id is None:
        raise link_is_over()
    return begin(registry, user_id, method="link", replaces=replaces)


def make_room(db: Connection) -> None:
    """Remember no more logins than `MOST_ATTEMPTS`: the oldest of the address with the most of them goes first.

    Who begins thousands from one address therefore ends their own, and nobody else's.
    """
    for _ in range(logins.count_attempts(db) - MOST_ATTEMPTS + 1):
        logins.drop_most_crowded(db)


def begun_at() -> str:
    """Where the present request comes from, as one caller holds it: of IPv6 the first 64 bits."""
    return site_of(present().address)


def link_is_over() -> RequestDeniedError:
    """A link that lets nobody in."""
    return RequestDeniedError(
        403, "login", "this login link was used already, or it has ended", "ask the registry's operator for another one"
    )


def _idle_since(db: Connection) -> str:
    return stamp(now() - timedelta(minutes=configuration.number(db, "session.idle_minutes")))
