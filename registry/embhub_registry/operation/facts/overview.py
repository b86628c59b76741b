"""A registry at a glance: what sites compare before they trust it, and how much it holds."""

from __future__ import annotations

from typing import Any

from embhub_registry import __version__
from embhub_registry.database.releases import usage
from embhub_registry.storage.folder import Registry


def describe(registry: Registry) -> dict[str, Any]:
    """Name, address, fingerprint of the root key, version of the keyring, and counts.

    The fingerprint is that of the key which the stored keyring was verified against.
    """
    trust = registry.trust()
    keys = [key for member in trust.keyring.members for key in member.keys]
    revoked = {row.fingerprint for row in trust.keyring.revoked}
    return {
        "name": registry.setting("name"),
        "url": registry.setting("url"),
        "root_fingerprint": trust.root_fingerprint,
        "keyring_version": trust.keyring.version,
        "keyring_issued": trust.keyring.issued,
        "audit": registry.setting("audit"),
        "created": registry.setting("created"),
        "software": __version__,
        "counts": {
            "members": len(trust.keyring.members),
            "keys": len({key.fingerprint for key in keys} - revoked),
            "keys_revoked": len(revoked),
            **usage.totals(registry.database.connection()),
        },
    }
