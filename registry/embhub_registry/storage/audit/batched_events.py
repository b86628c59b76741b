"""Events of which callers decide how many there are, noted in the audit log now and then: a line each kind, counted.

An attacker decides neither the log's size nor how often it is synced. A crash may lose the last seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from embhub_registry.storage.audit.actors import present
from embhub_registry.storage.audit.audit_log import AuditLog

MOST = 1000  # lines a writing; the rest is counted in one


class BatchedEvents:
    """Events since the last writing, by what they say; `details` are those of the first of a kind.

    Args:
        event: What they are called in the log.
    """

    def __init__(self, event: str) -> None:
        self._event = event
        self._guard = threading.Lock()
        self._seen: dict[tuple[tuple[str, Any], ...], tuple[int, Mapping[str, Any]]] = {}
        self._further = 0

    def note(self, *, details: Mapping[str, Any] | None = None, **kind: Any) -> None:
        """Count one of the present actor."""
        actor = present()
        key = (("actor", actor.name), ("address", actor.address), *sorted(kind.items()))
        with self._guard:
            if key in self._seen or len(self._seen) < MOST:
                times, first = self._seen.get(key, (0, details or {}))
                self._seen[key] = times + 1, first
            else:
                self._further += 1

    def write(self, audit_log: AuditLog) -> None:
        """One line a kind, with how often; it waits for the disk, so not on the event loop."""
        with self._guard:
            seen, self._seen = self._seen, {}
            further, self._further = self._further, 0
        rows: list[dict[str, Any]] = [{**dict(key), **first, "times": times} for key, (times, first) in seen.items()]
        if further:
            rows.append({"actor": "others", "address": "", "times": further})
        if rows:
            audit_log.write_all([(self._event, row) for row in rows])
