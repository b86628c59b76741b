"""What an operator does for people in browsers: a login link, and logging somebody out."""

from __future__ import annotations

from typing import Any

from embhub.errors import UsageError
from embhub_registry.database.people import accounts
from embhub_registry.people.login import sessions
from embhub_registry.storage.folder import Registry


def make_login_link(registry: Registry, user: str, *, minutes: int = 30) -> dict[str, Any]:
    """A link by which an account logs in once; an earlier one that was not used ends.

    Raises:
        UsageError: no such user, or one that is disabled.
    """
    row = accounts.find_user(registry.database.connection(), user)
    if row is None:
        raise UsageError(f"there is no user {user!r}", "`user list` shows them")
    if row["disabled"]:
        raise UsageError(f"the account {user!r} is disabled", f"let it in again first: `user enable {user}`")
    secret, expires = sessions.make_link(registry, user, minutes=minutes)
    return {"user": user, "link": f"{registry.setting('url')}/login/link/{secret}", "expires": expires}


def log_out(registry: Registry, user: str) -> dict[str, Any]:
    """End every session of an account.

    Raises:
        UsageError: no such user.
    """
    row = accounts.find_user(registry.database.connection(), user)
    if row is None:
        raise UsageError(f"there is no user {user!r}", "`user list` shows them")
    return {"user": user, "sessions": sessions.end_all(registry, row["id"], user=user)}
