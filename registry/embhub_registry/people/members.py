"""Who belongs where: further namespaces of an account, and accounts that are shut out."""

from __future__ import annotations

from typing import Any

from embhub.errors import UsageError
from embhub_registry.database import Connection, Row
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts, sessions
from embhub_registry.people.login import workloads
from embhub_registry.people.names import check_namespace
from embhub_registry.storage.folder import Registry


def join(registry: Registry, user: str, *, namespace: str, role: str) -> dict[str, Any]:
    """Give an account a role in a namespace: another one, or another role in one of its own.

    Raises:
        UsageError: no such user, a bad name, or no admin would be left.
    """
    check_namespace(namespace)
    with registry.database.writing() as db:
        found = _find(db, user)
        if found["left_at"] is not None:
            raise UsageError(f"{user} has left on {found['left_at'][:10]}", "make a new account: `user add`")
        before = accounts.roles_of(db, found["id"]).get(namespace)
        created = accounts.add_namespace(db, namespace, now=stamp())
        accounts.set_membership(db, found["id"], namespace, role, now=stamp())
        _keep_an_admin(db)
    registry.audit_log.write("member-set", user=user, namespace=namespace, role=role, before=before)
    return {"user": user, "namespace": namespace, "namespace_created": created, "role": role, "before": before}


def leave(registry: Registry, user: str, *, namespace: str) -> dict[str, Any]:
    """Take an account out of a namespace that is not its first; the trusted publishers that it registered there end.

    Raises:
        UsageError: no such user, it does not belong there, or it is its own namespace.
    """
    with registry.database.writing() as db:
        found = _find(db, user)
        if namespace == found["namespace"]:
            raise UsageError(
                f"{namespace!r} is the own namespace of {user}", f"shut the account out with `user disable {user}`"
            )
        if not accounts.remove_membership(db, found["id"], namespace):
            raise UsageError(f"{user} does not belong to {namespace!r}", "`user list` shows who does")
        ended = workloads.end_made_by(db, user, namespace=namespace)
        _keep_an_admin(db)
    registry.audit_log.write("member-removed", user=user, namespace=namespace, publishers_ended=ended)
    return {"user": user, "namespace": namespace, "publishers_ended": ended}


def disable(registry: Registry, user: str) -> dict[str, Any]:
    """Shut an account out: its tokens are refused from the next request on, its sessions end, its releases stay.

    Raises:
        UsageError: no such user, or it is the last admin.
    """
    with registry.database.writing() as db:
        moment, user_id = stamp(), _find(db, user)["id"]
        accounts.set_disabled(db, user_id, moment)
        sessions.end_all(db, user_id)
        _keep_an_admin(db)
    registry.audit_log.write("user-disabled", user=user)
    return {"user": user, "disabled": moment}


def enable(registry: Registry, user: str) -> dict[str, Any]:
    """Let an account in again, with the tokens that it had.

    Raises:
        UsageError: no such user, or it has left.
    """
    with registry.database.writing() as db:
        found = _find(db, user)
        if found["left_at"] is not None:
            raise UsageError(f"{user} has left on {found['left_at'][:10]}", "make a new account: `user add`")
        accounts.set_disabled(db, found["id"], None)
    registry.audit_log.write("user-enabled", user=user)
    return {"user": user, "disabled": None}


def _find(db: Connection, user: str) -> Row:
    found = accounts.find_user(db, user)
    if found is None:
        raise UsageError(f"there is no user {user!r}", "`user list` shows them")
    return found


def _keep_an_admin(db: Connection) -> None:
    if not accounts.count_admins(db):
        raise UsageError("that would leave the registry without an admin", "make another one first: `user add`")
