"""What every answer gets, whoever gave it: headers that browsers heed, an id, a log line, and its place in metrics."""

from __future__ import annotations

import time
from typing import Any

from starlette.types import Scope

from embhub_registry.storage.logs import log
from embhub_registry.wire import request_ids

LOGIN_LINKS = "/login/link/"
SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]

Headers = list[tuple[bytes, bytes]]


def complete(headers: Headers, request_id: str) -> Headers:
    """An answer's headers, its request's id among them, and those of `SAFE_HEADERS` that it has not set itself."""
    present = {name.lower() for name, _ in headers}
    missing = [pair for pair in SAFE_HEADERS if pair[0] not in present]
    return [*headers, (request_ids.HEADER, request_id.encode()), *missing]


def note(metrics: Any, scope: Scope, *, status: int, started: float) -> None:
    """Count one answer, and write its line, without query or token; its id is of the block that this is called in."""
    state = scope["state"]
    seconds, rule = time.perf_counter() - started, state.get("rule")
    metrics.answered(scope, status=status, seconds=seconds, rule=rule)
    log(
        "info" if status < 500 else "error", "request", method=scope["method"],
        path=without_secret(scope["path"])[:200], status=status, ms=round(seconds * 1000, 1), user=state.get("user"),
        rule=rule, client=(scope.get("client") or [None])[0],
    )  # fmt: skip


def without_secret(path: str) -> str:
    """A path as the log may have it: a one-time login link would let in whoever reads the log first."""
    return f"{LOGIN_LINKS}…" if path.startswith(LOGIN_LINKS) else path
