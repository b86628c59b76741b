"""`init` as an operator sees it: a registry with its first account, and where its keys are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embhub.errors import UsageError
from embhub_registry.operation import administration
from embhub_registry.operation.keyrings import keyring_ceremony
from embhub_registry.people.names import check_display
from embhub_registry.storage import folder


def initialise(
    place: Path, *, name: str, url: str, audit: str, closed: bool = False, root_keys: Sequence[Path] = (),
    threshold: int | None = None, online_keys: Path | None = None, database: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Make a registry and its admin. With `root_keys`, public halves, no private key is in its folder.

    Raises:
        UsageError: a name, address, key or threshold is wrong, or the folder holds something.
        ConfigError: it cannot be written.
    """
    if threshold is not None and not root_keys:
        raise UsageError("--threshold counts root keys, and none was given", "add --root-key for each of them")
    root = keyring_ceremony.read_root(root_keys, threshold) if root_keys else None
    registry = folder.create(
        place, name=check_display(name), url=url, audit=audit, closed=closed, root=root,
        online_keys=online_keys, database=database,
    )  # fmt: skip
    try:
        added = administration.add_user(registry, "admin", namespace="registry", role="admin")
        return {
            "dir": str(place), "url": registry.setting("url"), "root_key": registry.setting("root_fingerprint"),
            "root_is_here": registry.private_keys.root_is_here, "closed": closed,
            "online_keys": str(registry.private_keys.online), "blobs": str(registry.blobs.location),
            **added,
        }  # fmt: skip
    finally:
        registry.close()
