"""What is kept how long: old months of the audit log, bytes of deleted releases, tokens that ended."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

from embhub.errors import ConfigError
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import accounts
from embhub_registry.database.standing import tombstones
from embhub_registry.repositories import deletion
from embhub_registry.storage import configuration
from embhub_registry.storage.folder import Registry


def prune(registry: Registry, *, really: bool) -> dict[str, Any]:
    """Remove what its setting no longer keeps; without `really` only say what that is.

    Returns:
        `audit_segments` by name, `tokens` by number, `objects` and `bytes` of deleted repositories. `waiting`: objects
        of deleted repositories that stay here for the running server to remove.
    """
    db = registry.database.connection()
    audit_days = configuration.limit(db, "retention.audit_days")
    token_days = configuration.limit(db, "retention.token_days")
    # a segment goes once its whole month is older
    month = stamp(now() - timedelta(days=audit_days))[:7] if audit_days is not None else ""
    ended = stamp(now() - timedelta(days=token_days)) if token_days is not None else ""
    due = {digest: registry.blobs.size(digest) for digest in tombstones.doomed(db, until=stamp())}
    if really:
        segments, tokens = _prune_audit_log(registry, month), _forget_tokens(registry, ended)
        waiting = _purge(registry)
    else:
        segments = [segment.name for segment in registry.audit_log.prunable(month)]
        tokens = accounts.forget_tokens(db, ended_before=ended, really=False)
        waiting = set()
    gone = [size for digest, size in due.items() if digest not in waiting]
    return {
        "applied": really, "audit_segments": segments, "objects": len(gone), "bytes": sum(gone), "tokens": tokens,
        "waiting": len(waiting),
    }  # fmt: skip


def _prune_audit_log(registry: Registry, month: str) -> list[str]:
    try:
        gone, head = registry.audit_log.prune(month)
    except OSError as error:
        raise ConfigError(f"cannot remove {error.filename}: {error.strerror}", "check the folder's owner") from error
    if gone:
        registry.audit_log.write(
            "audit-pruned", segments=gone, first_kept=head.first_number + 1, digest_before=head.first_previous
        )
    return gone


def _forget_tokens(registry: Registry, ended: str) -> int:
    with registry.database.writing() as db:
        tokens = accounts.forget_tokens(db, ended_before=ended, really=True)
    if tokens:
        registry.audit_log.write("tokens-pruned", count=tokens)
    return tokens


def _purge(registry: Registry) -> set[str]:
    """Remove the bytes that are due; returns those that stay: a server is running, and removes them itself."""
    with contextlib.suppress(ConfigError), registry.alone("prune"):
        deletion.purge(registry)
    return set(tombstones.doomed(registry.database.connection(), until=stamp()))
