"""Making access tokens, by the operator or by their owner; and what state one is in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from embhub.errors import UsageError
from embhub_registry.database import Connection, Row
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.people import auth
from embhub_registry.people.roles import SCOPES, widest_scope
from embhub_registry.storage.folder import Registry

LONGEST_PURPOSE = 60
MOST_DAYS = 366  # of a token that somebody makes in a page; the operator may make longer ones
MOST_OWN = 50  # in force, of one account
FRESH_FOR = timedelta(minutes=15)  # how long a token counts as a proof of who made it


def add(
    db: Connection, user_id: int, days: int | None, *, scope: str | None = None, unlimited: bool = False,
    purpose: str = "", proved: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A new token within a transaction: its secret, id, end and scope. Without `scope` it may do all that the user may.

    `proved` is when the account's person asked for it in a page, and had proved just then who they are.

    Raises:
        UsageError: the scope is wider than the user's roles, or a negative number of days.
    """
    if days is not None and days < 0:
        raise UsageError(f"a token cannot last {days} days", "pass --never-expires for one without an end")
    widest = widest_scope(set(accounts.roles_of(db, user_id).values()))
    scope = scope or widest
    if SCOPES.index(scope) > SCOPES.index(widest):
        raise UsageError(
            f"the user's roles reach to the scope {widest!r}, not to {scope!r}", "give the user another role first"
        )
    expires = None if days is None else stamp(now() + timedelta(days=days))
    token = auth.make_token()
    accounts.add_token(
        db, token_id=token.id, digest=token.digest, user_id=user_id, now=stamp(), expires=expires, scope=scope,
        unlimited=unlimited, purpose=purpose, proved=proved,
    )  # fmt: skip
    return {"token": token.secret, "token_id": token.id, "expires": expires, "scope": scope}


def state(row: Row) -> str:
    """A token's state in a word; one that was retired at its end (see `expiry`) has expired."""
    if row["revoked"] is not None and row["revoked"] != row["expires"]:
        return "revoked"
    if row["expires"] is not None and (row["revoked"] is not None or row["expires"] <= stamp()):
        return "expired"
    return "disabled" if row["disabled"] else "good"


def is_fresh(account: Account) -> bool:
    """Whether the token's owner made it within the last minutes, and so proved just now who they are."""
    if account.proved is None:
        return False
    since = now() - datetime.fromisoformat(account.proved)
    return timedelta(seconds=-5) <= since <= FRESH_FOR


def offered_scopes(account: Account) -> tuple[str, ...]:
    """The scopes that the account's roles reach to, the smallest first."""
    return SCOPES[: SCOPES.index(widest_scope(set(account.roles))) + 1]


def list_own(db: Connection, account: Account) -> list[dict[str, Any]]:
    """The account's tokens without their secret, newest first, each with its state in a word."""
    return [{**dict(row), "state": state(row)} for row in accounts.list_tokens(db, user=account.user)]


def make_own(registry: Registry, account: Account, *, purpose: str, scope: str, days: int) -> dict[str, Any]:
    """A token that a person makes for themselves in a page, or approves for a program.

    Raises:
        RequestDeniedError: 400 for a purpose, scope or length that cannot be; 409 with too many in force.
    """
    purpose = " ".join(purpose.split())
    if not purpose or not purpose.isprintable() or len(purpose) > LONGEST_PURPOSE or auth.PREFIX in purpose:
        raise malformed(f"say what the token is for, in at most {LONGEST_PURPOSE} characters", "for example: laptop")
    if scope not in offered_scopes(account) or not 1 <= days <= MOST_DAYS:
        raise malformed(f"a token lasts 1 to {MOST_DAYS} days, and its scope is one that the account's roles reach to")
    with registry.database.writing() as db:
        check_room(db, account.user)
        made = add(db, account.user_id, days, scope=scope, purpose=purpose, proved=stamp())
    registry.audit_log.write(
        "token-added", user=account.user, token_id=made["token_id"], expires=made["expires"], scope=scope,
        purpose=purpose,
    )  # fmt: skip
    return {**made, "purpose": purpose}


def check_room(db: Connection, user: str) -> None:
    """Let no account make more tokens than a person can keep in view.

    Raises:
        RequestDeniedError: 409.
    """
    if sum(state(row) == "good" for row in accounts.list_tokens(db, user=user)) >= MOST_OWN:
        raise RequestDeniedError(409, "tokens", f"{user} has {MOST_OWN} tokens in force", "revoke some")


def revoke_own(registry: Registry, account: Account, token_id: str) -> None:
    """Revoke one of the account's own tokens.

    Raises:
        RequestDeniedError: 404 where the account has no such token in force.
    """
    with registry.database.writing() as db:
        row = accounts.find_token(db, token_id)
        mine = row is not None and row["user_id"] == account.user_id
        count = accounts.revoke_tokens(db, token_id=token_id, now=stamp()) if mine else 0
    if not count:
        raise RequestDeniedError(404, "token", "you have no such token in force", "the page lists your tokens")
    registry.audit_log.write("token-revoked", user=account.user, which=token_id, count=count)
