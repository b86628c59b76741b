"""Tokens that were no good, noted in the audit log now and then: an attacker decides neither its size nor its pace."""

from __future__ import annotations

import threading
from collections import Counter

from embhub_registry.storage.audit.actors import ANONYMOUS
from embhub_registry.storage.audit.audit_log import AuditLog

MOST = 100  # lines a writing; the rest is counted in one


class FailedLogins:
    """Failed log-ins by client and reason since the last writing; a crash may lose the last seconds."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._further = 0

    def note(self, client: str | None, reason: str) -> None:
        """Count one."""
        key = (client or "", reason)
        with self._guard:
            if key in self._seen or len(self._seen) < MOST:
                self._seen[key] += 1
            else:
                self._further += 1

    def write(self, audit_log: AuditLog) -> None:
        """One line a client and reason, with how often; it waits for the disk, so not on the event loop."""
        with self._guard:
            seen, self._seen = self._seen, Counter()
            further, self._further = self._further, 0
        rows = [
            {"actor": ANONYMOUS, "address": client, "client": client or None, "reason": reason, "times": times}
            for (client, reason), times in seen.items()
        ]
        if further:
            reason = "more clients than are listed"
            rows.append({"actor": ANONYMOUS, "address": "", "client": "others", "reason": reason, "times": further})
        if rows:
            audit_log.write_all([("login-failed", row) for row in rows])
