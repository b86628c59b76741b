"""Withdrawing a release of one's own namespace at its registry."""

from __future__ import annotations

from typing import Any

from embhub.cards.personal_data import personal_data
from embhub.client.wire.hub import Hub
from embhub.errors import PrivacyError
from embhub.formats import names


def check_reason(reason: str) -> None:
    """Refuse a public reason that looks like it names a person. Raises PrivacyError."""
    if personal_data(reason):
        raise PrivacyError("the reason looks like it names a person", "everybody reads it: leave names and dates out")


def yank(
    hub: Hub, repository: str, *, reason: str, version: str | None = None, scope: str = "release"
) -> dict[str, Any]:
    """Withdraw a version, or (None) that of the newest release. Returns what became of the repository's releases.

    Raises:
        UsageError: not the name of a repository.
        PrivacyError: the reason looks like it names a person.
        RegistryError: the registry refuses or cannot be reached.
    """
    names.check_repository(repository)
    check_reason(reason)
    send = {"reason": reason, "scope": scope, **({"version": version} if version else {})}
    return dict(hub.call(f"/embhub/v1/yank/{repository}", what=repository, method="POST", send=send))
