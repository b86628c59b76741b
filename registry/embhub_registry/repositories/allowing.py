"""Letting withdrawn bytes be published again: the operator's word alone."""

from __future__ import annotations

import re
from typing import Any

from embhub.errors import UsageError
from embhub_registry.database import withdrawals as table
from embhub_registry.database import yanks
from embhub_registry.database.clock import stamp
from embhub_registry.repositories import advisories, withdrawals
from embhub_registry.repositories.yanking import check_reason
from embhub_registry.storage.folder import Registry


def allow(registry: Registry, digest: str, *, reason: str) -> dict[str, Any]:
    """End every withdrawal of these bytes; what was yanked stays yanked, its release alone.

    Raises:
        UsageError: not a SHA-256, or nothing withdrew these bytes.
        RequestDeniedError: no reason.
    """
    reason = check_reason(reason)
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise UsageError(
            "bytes are named by their SHA-256, 64 lower-case hex digits", "`curate digest list` shows them"
        )
    with registry.database.writing() as db:
        lifted = table.lift_bytes(db, digest, now=stamp())
        if not lifted:
            raise UsageError(
                f"nothing withdraws the bytes {digest[:12]}…", "`curate digest list` shows what is withdrawn"
            )
        yanks.narrow(db, digest)
        holders = {holder[0] for holder in table.holders(db, digest)}
        for repository_id in sorted(holders):
            withdrawals.refresh(db, repository_id)
        withdrawals.refresh_lists(db, holders)
    registry.audit_log.write("bytes-allowed", digest=digest, reason=reason, withdrawals=lifted)
    advisories.publish_if_possible(registry)
    return {"digest": digest, "lifted": lifted}


def list_withdrawn(registry: Registry) -> dict[str, Any]:
    """Bytes that may not be published, with who forbade them, where, and why."""
    rows = [row for row in table.all_rows(registry.database.connection()) if row.scope == "bytes" and not row.lifted]
    keys = ("digest", "authority", "namespace", "repository", "version", "reason", "created")
    return {"withdrawn": [{key: getattr(row, key) for key in keys} for row in rows]}
