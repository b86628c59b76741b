"""The device flow (RFC 8628): a program shows a code, a person approves it in a page, the program gets a token."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from embhub.errors import UsageError
from embhub_registry.database import Connection, Row
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import device_requests
from embhub_registry.database.people import sessions as session_rows
from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.people import access_tokens, auth
from embhub_registry.people.rate_limits import site_of
from embhub_registry.people.roles import SCOPES
from embhub_registry.storage.folder import Registry

MINUTES = 10
INTERVAL = 5  # seconds between two questions of a program; each that comes too early makes it 5 more
MOST = 1000  # requests that wait at once
LINE = 48  # bits of an IPv6 address that one line may have to itself
LONGEST_CLIENT = 60
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 section 6.1: no vowels, so no words


class DeviceError(Exception):
    """Why there is no token (yet), in the words of RFC 8628 section 3.5."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Begun:
    """What the program gets: a secret to ask with, and what the person types."""

    device_code: str
    user_code: str
    seconds: int


def begin(registry: Registry, *, client: str, scope: str, days: int, address: str) -> Begun:
    """Remember that a program waits.

    Raises:
        RequestDeniedError: 400 for a name, scope or length that cannot be.
    """
    client = " ".join(client.split())
    if not client or not client.isprintable() or len(client) > LONGEST_CLIENT or auth.PREFIX in client:
        raise malformed(f"`client` is the program's name, at most {LONGEST_CLIENT} characters")
    if scope not in SCOPES or not 1 <= days <= access_tokens.MOST_DAYS:
        raise malformed(f"`scope` is one of {', '.join(SCOPES)}, `days` from 1 to {access_tokens.MOST_DAYS}")
    device_code, user_code = secrets.token_urlsafe(32), "".join(secrets.choice(_LETTERS) for _ in range(8))
    with registry.database.writing() as db:
        _make_room(db)
        device_requests.add(
            db, auth.digest(device_code), user_code=user_code, address=address, client=client, scope=scope,
            days=days, patience=INTERVAL, expires=stamp(now() + timedelta(minutes=MINUTES)),
        )  # fmt: skip
    return Begun(device_code, f"{user_code[:4]}-{user_code[4:]}", MINUTES * 60)


def _make_room(db: Connection) -> None:
    """Where too many wait, the oldest from the network with the most of them goes: a flood ends its own."""
    waiting = device_requests.list_waiting(db, now=stamp())
    if len(waiting) < MOST:
        return
    networks = [site_of(row["address"], bits=LINE) for row in waiting]
    crowded, _ = Counter(networks).most_common(1)[0]
    device_requests.remove(db, waiting[networks.index(crowded)]["digest"])


def find(registry: Registry, typed: str) -> Row | None:
    """The request that shows this code, as a person typed it; None where none waits."""
    code = "".join(char for char in typed.upper() if char in _LETTERS)
    return device_requests.find_pending(registry.database.connection(), code, now=stamp()) if len(code) == 8 else None


def answer(registry: Registry, account: Account, typed: str, *, approve: bool) -> Row:
    """Approve or deny a request; returns it.

    Raises:
        RequestDeniedError: 404 where none waits under that code; 403 where it asks for more than the account may.
    """
    row = find(registry, typed)
    if row is None:
        raise no_request()
    if approve and row["scope"] not in access_tokens.offered_scopes(account):
        raise RequestDeniedError(
            403, "scope", f"the program asks for the scope {row['scope']!r}, which your roles do not reach to",
            "start it again with a smaller --scope",
        )  # fmt: skip
    state = "approved" if approve else "denied"
    with registry.database.writing() as db:
        done = device_requests.answer(db, row["user_code"], state=state, user_id=account.user_id, now=stamp())
    if not done:
        raise no_request()
    registry.audit_log.write(
        f"device-{state}", user=account.user, client=row["client"], scope=row["scope"], days=row["days"],
        asked_from=row["address"],
    )  # fmt: skip
    return row


def poll(registry: Registry, device_code: str) -> dict[str, Any]:
    """The token for a request that was approved, once.

    Raises:
        DeviceError: `authorization_pending`, `slow_down`, `access_denied` or `expired_token`.
    """
    digest = auth.digest(device_code)
    with registry.database.writing() as db:
        row = device_requests.find(db, digest)
        if row is None or row["expires"] <= stamp():
            raise DeviceError("expired_token")
        if row["state"] == "pending":
            early = row["polled"] is not None and _seconds_since(row["polled"]) < row["patience"] - 0.5
            patience = row["patience"] + (INTERVAL if early else 0)
            device_requests.note_poll(db, digest, now=stamp(), patience=patience)
        else:
            device_requests.remove(db, digest)
            user = session_rows.find_user(db, row["user_id"])
    if row["state"] == "pending":
        raise DeviceError("slow_down" if early else "authorization_pending")
    if row["state"] == "denied" or user is None or user["disabled"] is not None:
        raise DeviceError("access_denied")
    return _token(registry, row, str(user["name"]))


def no_request() -> RequestDeniedError:
    """404: the code is wrong, or it is over."""
    return RequestDeniedError(
        404, "device", "no program waits under this code", "compare it with the one that the program shows"
    )


def _token(registry: Registry, row: Row, user: str) -> dict[str, Any]:
    try:
        with registry.database.writing() as db:
            access_tokens.check_room(db, user)
            made = access_tokens.add(
                db, row["user_id"], row["days"], scope=row["scope"], purpose=row["client"], proved=row["polled"]
            )
    except (UsageError, RequestDeniedError) as error:  # a role was taken away since, or there are too many tokens
        raise DeviceError("access_denied") from error
    registry.audit_log.write(
        "token-added", actor=user, user=user, token_id=made["token_id"], expires=made["expires"], scope=made["scope"],
        purpose=row["client"],
    )  # fmt: skip
    return {**made, "user": user}


def _seconds_since(moment: str) -> float:
    return (now() - datetime.fromisoformat(moment)).total_seconds()
