"""An account that leaves: what it could do ends at once, what it published stays, its name goes where it may."""

from __future__ import annotations

import secrets
from typing import Any

from embhub.errors import UsageError
from embhub_registry.database import Connection
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts, workloads
from embhub_registry.database.standing import offboarding as rows
from embhub_registry.people.login import workloads as people_workloads
from embhub_registry.storage.folder import Registry

REASON = "the account has left"
# What stays, and why: said by the command and the page, so that nobody promises more.
KEPT = (
    "commits keep the name of their author: their ids are computed from it, and sites have copies",
    "the audit log keeps what it says until its months are deleted (setting retention.audit_days); what comes has the"
    " pseudonym",
    "accepted terms stay, as evidence, under the pseudonym",
    "issuer and subject at a login provider stay, so that the person is not let in again unnoticed",
    "backups that exist keep everything, until they are deleted",
    "signed releases stay valid; signatures name keys and namespaces, not accounts",
)


def preview(registry: Registry, user: str) -> dict[str, Any]:
    """What an account holds, and which repositories would be left without somebody who may publish.

    Raises:
        UsageError: no such user.
    """
    db = registry.database.connection()
    found = accounts.find_user(db, user)
    if found is None:
        raise UsageError(f"there is no user {user!r}", "`user list` shows them")
    alone = rows.last_publisher_of(db, found["id"])
    return {
        "user": user, "left": found["left_at"], "roles": accounts.roles_of(db, found["id"]),
        "holds": rows.holdings(db, found["id"], name=user, now=stamp()),
        "last_publisher_of": alone,
        "repositories": [name for space in alone for name in rows.repositories_of(db, space)],
        "trusted_publishers": [_shown(row) for row in rows.publishers_made_by(db, user)], "kept": list(KEPT),
    }  # fmt: skip


def leave(
    registry: Registry, user: str, *, hand_over_to: str | None = None, keep: bool = False, erase: bool = False
) -> dict[str, Any]:
    """Let an account leave.

    Args:
        registry: The registry.
        user: Who leaves.
        hand_over_to: An account that becomes publisher where nobody else is.
        keep: Whether such namespaces stay as they are, for their organisation to name somebody.
        erase: Whether a pseudonym takes the place of the name.

    Returns:
        what `preview` says of before, with `name` (the pseudonym, if any), `ended` and `handed_over_to`.

    Raises:
        UsageError: no such user; it is the last admin; or repositories would be left without a publisher, and neither
            `hand_over_to` nor `keep` says what becomes of them.
    """
    before = preview(registry, user)
    with registry.database.writing() as db:
        found = accounts.find_user(db, user)
        assert found is not None  # noqa: S101  # accounts are never deleted
        if workloads.is_workload(db, found["id"]):
            raise UsageError(f"{user!r} is a workload's account", "end its rule: `repo publisher end`")
        alone = rows.last_publisher_of(db, found["id"])
        _hand_over(db, user, alone, hand_over_to, keep=keep)
        ended = people_workloads.end_made_by(db, user)
        rows.end_everything(db, found["id"], now=stamp(), reason=REASON)
        if not accounts.count_admins(db):
            raise UsageError("that would leave the registry without an admin", "make another one first: `user add`")
        name = _erase(db, found["id"], user) if erase else user
    registry.audit_log.write(
        "user-left", user=name, erased=erase, namespaces=sorted(before["roles"]), handed_over_to=hand_over_to,
        kept_without_publisher=[] if hand_over_to else alone, ended=before["holds"], publishers_ended=ended,
    )  # fmt: skip
    return {**before, "name": name, "ended": before["holds"], "publishers_ended": ended, "handed_over_to": hand_over_to}


def erase_name(registry: Registry, user: str) -> dict[str, Any]:
    """Put a pseudonym in place of the name of an account that has left.

    Raises:
        UsageError: no such user, or it has not left.
    """
    with registry.database.writing() as db:
        found = accounts.find_user(db, user)
        if found is None or found["left_at"] is None:
            raise UsageError(f"there is no user {user!r} who has left", "`user offboard` first")
        name = _erase(db, found["id"], user)
    registry.audit_log.write("user-erased", user=name)
    return {"name": name, "kept": list(KEPT)}


def _hand_over(db: Connection, user: str, alone: list[str], heir: str | None, *, keep: bool) -> None:
    orphans = [name for namespace in alone for name in rows.repositories_of(db, namespace)]
    if heir is not None:
        found = accounts.find_user(db, heir)
        if found is None or found["disabled"] or heir == user or workloads.is_workload(db, found["id"]):
            raise UsageError(f"{heir!r} is nobody who could take over", "name an account that is not disabled")
        for namespace in alone:
            if accounts.roles_of(db, found["id"]).get(namespace) != "admin":
                accounts.set_membership(db, found["id"], namespace, "publisher", now=stamp())
    elif orphans and not keep:
        raise UsageError(
            f"{user} is the last who may publish {', '.join(orphans[:10])}"
            f"{f' and {len(orphans) - 10} more' if len(orphans) > 10 else ''}: nothing was changed",
            "hand them over (--hand-over-to USER), or let the organisation keep them (--keep)",
        )


def _erase(db: Connection, user_id: int, name: str) -> str:
    pseudonym = f"former-{secrets.token_hex(5)}"
    rows.erase_name(db, user_id, name=name, pseudonym=pseudonym, now=stamp())
    return pseudonym


def _shown(row: Any) -> str:
    return f"{row['repository']} from {row['issuer']}"
