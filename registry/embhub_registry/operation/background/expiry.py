"""What ends, ends for good."""

from __future__ import annotations

from embhub_registry.database.clock import stamp
from embhub_registry.database.people import ended_tokens, login_limits
from embhub_registry.people.login import sessions
from embhub_registry.storage.folder import Registry


def retire_tokens(registry: Registry) -> int:
    """Revoke the tokens whose end has come; returns how many. Nothing is written where there is none.

    Raises:
        StorageFullError, Busy: left for the next turn.
    """
    moment = stamp()
    if not ended_tokens.any_ended(registry.database.connection(), now=moment):
        return 0
    with registry.database.writing() as db:
        count = ended_tokens.retire(db, now=moment)
    registry.audit_log.write("tokens-ended", count=count)
    return count


def forget_sessions(registry: Registry) -> int:
    """Remove sessions, login links, logins under way and device requests that are over; returns how many.

    Raises:
        StorageFullError, Busy: left for the next turn.
    """
    return sessions.forget_ended(registry)


def forget_tries(registry: Registry) -> int:
    """Remove what is known of tries of login codes that do not count any more; returns how many rows.

    Raises:
        StorageFullError, Busy: left for the next turn.
    """
    if not login_limits.any_full(registry.database.connection()):
        return 0
    with registry.database.writing() as db:
        return login_limits.forget(db)
