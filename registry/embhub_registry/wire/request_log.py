"""What every answer gets, whoever gave it: headers that browsers heed, an id, a log line, and its place in metrics."""

from __future__ import annotations

import time
from typing import Any

from starlette.types import Scope

from embhub_registry.storage.logs import log_encoded, quoted, within_encoded
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


def missing_headers(headers: Headers) -> Headers:
    """Those of `SAFE_HEADERS` that an answer has not set itself."""
    present = {name.lower() for name, _ in headers}
    return [pair for pair in SAFE_HEADERS if pair[0] not in present]


def complete(headers: Headers, request_id: str) -> Headers:
    """An answer's headers, its request's id among them."""
    return [*headers, (request_ids.HEADER, request_id.encode()), *missing_headers(headers)]


def note(metrics: Any, scope: Scope, *, status: int, started: float, request_id: str) -> None:
    """Count one answer, and write its line, without query or token."""
    state = scope["state"]
    seconds, rule, user = time.perf_counter() - started, state.get("rule"), state.get("user")
    metrics.answered(scope, status=status, seconds=seconds, rule=rule)
    client = (scope.get("client") or [None])[0]
    log_encoded(
        "info" if status < 500 else "error", "request",
        f', "method": {quoted(scope["method"])}, "path": {quoted(without_secret(scope["path"])[:200])}'
        f', "status": {status}, "ms": {round(seconds * 1000, 1)!r}'
        + ("" if user is None else f', "user": {quoted(user)}')
        + ("" if rule is None else f', "rule": {quoted(rule)}')
        + ("" if client is None else f', "client": {quoted(client)}')
        + f', "id": {quoted(request_id)}{within_encoded()}',
    )  # fmt: skip


def without_secret(path: str) -> str:
    """A path as the log may have it: a one-time login link would let in whoever reads the log first."""
    return f"{LOGIN_LINKS}…" if path.startswith(LOGIN_LINKS) else path
