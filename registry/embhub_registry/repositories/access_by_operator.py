"""What an operator does about access from the command line: set a visibility, list requests, answer them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases.access import STATUSES
from embhub_registry.repositories import access
from embhub_registry.repositories.access import Settings
from embhub_registry.repositories.deletion import split
from embhub_registry.storage.folder import Registry

VISIBILITIES: Mapping[str, Settings] = {
    "public": Settings(private=False, gated=""),
    "gated": Settings(private=False, gated="manual"),
    "private": Settings(private=True),
}
# Who acts on the folder itself has no account; the audit log names them so, as for a yank.
OPERATOR = Account(
    user_id=0, user="operator", namespace="registry", role="admin", token_id="", digest=b"", expires=None, revoked=None,
    scope="admin",
)  # fmt: skip


def set_visibility(registry: Registry, full_name: str, visibility: str) -> dict[str, Any]:
    """Make a repository public, gated or private, whether it has releases or not.

    Raises:
        UsageError: not the name of a repository.
        RequestDeniedError: no such repository.
    """
    changed = access.change(registry, OPERATOR, *split(full_name), VISIBILITIES[visibility])
    return {"repository": changed.full_name, "private": changed.private, "gated": changed.gated or None}


def list_requests(registry: Registry, full_name: str) -> dict[str, Any]:
    """Every request for a gated repository, the pending ones first, with the terms that were accepted.

    Raises:
        UsageError: not the name of a repository.
        RequestDeniedError: no such repository, or it is not gated.
    """
    db = registry.database.connection()
    found = [row for status in STATUSES for row in access.list_requests(db, OPERATOR, *split(full_name), status)]
    return {"repository": full_name, "requests": [asdict(row) for row in found]}


def answer(registry: Registry, full_name: str, user: str, *, status: str, reason: str = "") -> dict[str, Any]:
    """Let an account in, whether it asked or not, or reject it.

    Raises:
        UsageError: not the name of a repository.
        RequestDeniedError: no such repository, account or request, or it is not gated.
    """
    if status == "accepted":
        access.grant(registry, OPERATOR, *split(full_name), user=user)
    else:
        access.answer(registry, OPERATOR, *split(full_name), user=user, status=status, reason=reason)
    return {"repository": full_name, "user": user, "status": status}
