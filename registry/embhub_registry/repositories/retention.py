"""What is kept how long: old months of the audit log, bytes of deleted releases, tokens that ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from embhub.errors import ConfigError
from embhub_registry.database import accounts, tombstones
from embhub_registry.database.clock import now, stamp
from embhub_registry.repositories import deletion, sweeping
from embhub_registry.storage import configuration
from embhub_registry.storage.folder import Registry


def prune(registry: Registry, *, really: bool) -> dict[str, Any]:
    """Remove what its setting no longer keeps; without `really` only say what that is.

    Bytes are removed by the running server, or here where none runs: `objects` says how many are due.
    """
    db = registry.database.connection()
    audit_days = configuration.limit(db, "retention.audit_days")
    token_days = configuration.limit(db, "retention.token_days")
    # a segment goes once its whole month is older
    month = stamp(now() - timedelta(days=audit_days))[:7] if audit_days is not None else ""
    ended = stamp(now() - timedelta(days=token_days)) if token_days is not None else ""
    found: dict[str, Any] = {
        "applied": really,
        "audit_segments": [segment.name for segment in registry.audit_log.prunable(month)],
        "objects": len(tombstones.doomed(db, until=stamp())),
        "tokens": accounts.forget_tokens(db, ended_before=ended, really=False),
    }
    if really:
        _apply(registry, month=month, ended=ended)
    return found


def _apply(registry: Registry, *, month: str, ended: str) -> None:
    try:
        gone, head = registry.audit_log.prune(month)
    except OSError as error:
        raise ConfigError(f"cannot remove {error.filename}: {error.strerror}", "check the folder's owner") from error
    if gone:
        registry.audit_log.write(
            "audit-pruned", segments=gone, first_kept=head.first_number + 1, digest_before=head.first_previous
        )
    with registry.database.writing() as db:
        tokens = accounts.forget_tokens(db, ended_before=ended, really=True)
    if tokens:
        registry.audit_log.write("tokens-pruned", count=tokens)
    sweeping.sweep(registry)
    try:
        with registry.alone("prune"):
            deletion.purge(registry)
    except ConfigError:
        return  # a server is running: it removes them itself
