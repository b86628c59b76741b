"""After a database was recovered to an earlier moment by its server's own tools: what must not come back with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embhub_registry.operation.backups import after_restore
from embhub_registry.storage.audit import audit_holder
from embhub_registry.storage.folder import Registry


def settle(
    registry: Registry, *, keep_tokens: bool = False, keep_keyring: bool = False, keyring: Path | None = None
) -> dict[str, Any]:
    """Revoke access tokens, end sessions, raise the keyring; once, before `serve`.

    The audit log goes on in this folder, whichever had its files.

    Args:
        registry: Stopped; its database is the recovered one.
        keep_tokens: Access tokens stay in force, those included that were revoked after that moment.
        keep_keyring: The keyring keeps its version, which sites may refuse.
        keyring: The newest keyring that anybody saw, as `newest_keyring.take` reads it.

    Raises:
        ConfigError: a server uses the registry. NewestKeyringError: `keyring` is none of this registry.
    """
    with registry.alone("settle it after a recovery"):
        with registry.database.writing() as db:
            audit_holder.claim(registry.folder, db)
        revoked = 0 if keep_tokens else after_restore.revoke_tokens(registry)
        version, told = registry.trust().keyring.version, list[str]()
        if not keep_keyring:
            version, told = after_restore.raise_keyring(registry, keyring)
        registry.audit_log.write("recovered", tokens_revoked=revoked, keyring=version)
    told = told if keep_tokens else [after_restore.COMES_BACK, *told]
    return {"tokens_revoked": revoked, "keyring_version": version, "told": told}
