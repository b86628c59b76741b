"""Withdrawing a release of one's own namespace at its registry."""

from __future__ import annotations

from typing import Any

from embhub.client.wire.hub import Hub
from embhub.formats import names


def yank(
    hub: Hub, repository: str, *, reason: str, version: str | None = None, scope: str = "release"
) -> dict[str, Any]:
    """Withdraw a version, or (None) that of the newest release. Returns what became of the repository's releases.

    Raises:
        UsageError: not the name of a repository.
        RegistryError: the registry refuses or cannot be reached.
    """
    names.check_repository(repository)
    send = {"reason": reason, "scope": scope, **({"version": version} if version else {})}
    return dict(hub.call(f"/embhub/v1/yank/{repository}", what=repository, method="POST", send=send))
