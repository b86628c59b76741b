"""Invitations: a code that makes one account, once, in one namespace, before its end.

What the operator hands out is `CODE.ROOT@URL`: the code, the fingerprint of the root key and the registry's address. So
whoever joins pins the root that the operator named, whatever stands between them and the registry.
"""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from embhub.errors import UsageError
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import accounts, invites
from embhub_registry.database.standing import offboarding
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people import access_tokens, auth
from embhub_registry.people.names import check_namespace, check_user
from embhub_registry.storage.folder import Registry

ROLES = ("reader", "publisher", "auditor")
COLUMNS = ("namespace", "role", "account")
MOST = 500  # of one call
DAYS = 14
TOKEN_DAYS = 90
_BYTES = 24


@dataclass(frozen=True)
class Wanted:
    """An account that somebody is invited to make."""

    namespace: str
    role: str
    account: str


def read_table(text: str) -> list[Wanted]:
    """A table in CSV with the columns `namespace`, `role` and, if wanted, `account`.

    Raises:
        UsageError: a column is missing or unknown, a row is incomplete, or there are too many.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise UsageError(f"the table is no CSV: {error}", f"its first line is {','.join(COLUMNS)}") from error
    if not rows or len(rows) > MOST:
        raise UsageError(f"a table has 1 to {MOST} rows below its head", f"its first line is {','.join(COLUMNS)}")
    found = []
    for number, row in enumerate(rows, start=2):
        if None in row or not set(row) <= set(COLUMNS) or not {"namespace", "role"} <= set(row) or None in row.values():
            raise UsageError(f"line {number}: the columns are not these", f"the first line is {','.join(COLUMNS)}")
        cells = {name: value.strip() for name, value in row.items()}
        found.append(Wanted(cells["namespace"], cells["role"], cells.get("account") or new_name(cells["namespace"])))
    return found


def new_name(namespace: str) -> str:
    """The name of an account where nobody chose one. Of 500 in one namespace, two are alike once in 30,000 times."""
    return f"{namespace[:30]}-{secrets.token_hex(4)}"


def make(
    registry: Registry, wanted: Iterable[Wanted], *, days: int = DAYS, token_days: int = TOKEN_DAYS
) -> list[dict[str, Any]]:
    """Make an invitation for each, all or none; returns what to hand out, which is shown once.

    Raises:
        UsageError: a bad name or role, an account that exists or is invited already.
    """
    made, moment, expires = [], stamp(), stamp(now() + timedelta(days=days))
    with registry.database.writing() as db:
        for one in wanted:
            check_user(one.account)
            check_namespace(one.namespace)
            if one.role not in ROLES:
                raise UsageError(f"nobody is invited as {one.role!r}", f"roles are {', '.join(ROLES)}")
            if accounts.find_user(db, one.account) is not None or invites.open_for(db, one.account, now=moment):
                raise UsageError(f"the account {one.account!r} exists or is invited already", "choose another name")
            if offboarding.is_erased(db, one.account):
                raise UsageError("somebody who has left had this name", "choose another one: commits still show it")
            code, invite_id = _new_code(), secrets.token_hex(4)
            invites.add(
                db, auth.digest(code), invite_id=invite_id, user=one.account, namespace=one.namespace, role=one.role,
                days=token_days, now=moment, expires=expires,
            )  # fmt: skip
            made.append(
                {"id": invite_id, "account": one.account, "namespace": one.namespace, "role": one.role,
                 "expires": expires, "invite": _to_hand_out(registry, code)}
            )  # fmt: skip
    for row in made:
        registry.audit_log.write("invited", **{name: row[name] for name in ("id", "account", "namespace", "role")})
    return made


def use(registry: Registry, code: str) -> Mapping[str, Any]:
    """Make the account that a code is for, and its access token.

    Raises:
        RequestDeniedError: 403 where the code is unknown, used, revoked or over; nobody learns which. 409 where its
            account was made otherwise meanwhile.
    """
    with registry.database.writing() as db:
        found = invites.use(db, auth.digest(code), now=stamp())
        if found is None:
            raise RequestDeniedError(
                403, "invite", "this invitation is unknown, used, or over", "ask the registry's operator for a new one"
            )
        name, namespace = found["user_name"], found["namespace"]
        if accounts.find_user(db, name) is not None or offboarding.is_erased(db, name):
            raise RequestDeniedError(409, "invite", f"the name {name} is taken by now", "ask for a new invitation")
        accounts.add_namespace(db, namespace, now=stamp())
        user_id = accounts.add_user(db, name=name, namespace=namespace, role=found["role"], now=stamp())
        token = access_tokens.add(db, user_id, found["days"], purpose="invitation")
    registry.audit_log.write(
        "invite-used", id=found["id"], user=name, namespace=namespace, role=found["role"], token_id=token["token_id"]
    )
    return {"user": name, "namespace": namespace, "role": found["role"], **token}


def list_all(registry: Registry) -> dict[str, Any]:
    """Every invitation and its state in a word; never a code."""
    moment, rows = stamp(), []
    for row in invites.every(registry.database.connection()):
        state = (
            "used" if row["used"] else "revoked" if row["revoked"] else "over" if row["expires"] <= moment else "open"
        )
        rows.append({
            "id": row["id"], "account": row["user_name"], "namespace": row["namespace"], "role": row["role"],
            "expires": row["expires"], "state": state,
        })  # fmt: skip
    return {"invites": rows}


def revoke(registry: Registry, invite_id: str) -> dict[str, Any]:
    """End an invitation that was not used.

    Raises:
        UsageError: there is none.
    """
    with registry.database.writing() as db:
        if not invites.revoke(db, invite_id, now=stamp()):
            raise UsageError(f"no open invitation has the id {invite_id!r}", "`invite list` shows them")
    registry.audit_log.write("invite-revoked", id=invite_id)
    return {"id": invite_id, "state": "revoked"}


def _new_code() -> str:
    """A code that `embhub login --invite CODE` does not take for an option."""
    while (code := secrets.token_urlsafe(_BYTES)).startswith("-"):
        continue
    return code


def _to_hand_out(registry: Registry, code: str) -> str:
    root = registry.setting("root_fingerprint").removeprefix("SHA256:").replace("+", "-").replace("/", "_")
    return f"{code}.{root}@{registry.setting('url')}"
