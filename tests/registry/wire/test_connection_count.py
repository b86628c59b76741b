"""More connections than a server takes: a 503 that says when to come back, and answers for probes and metrics."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from embhub_registry.serving import LAST_CONNECTIONS, MAX_CONNECTIONS
from tests.support.servers import RunningRegistry, start_registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    made = start_registry(tmp_path)
    try:
        yield made
    finally:
        made.stop()


def answer(registry: RunningRegistry, path: str) -> http.client.HTTPResponse:
    where = urlsplit(registry.url)
    line = http.client.HTTPConnection(str(where.hostname), where.port, timeout=30)
    try:
        line.request("GET", path)
        found = line.getresponse()
        found.read()
        return found
    finally:
        line.close()


def test_a_crowded_server_says_when_to_come_back(registry: RunningRegistry) -> None:
    where = urlsplit(registry.url)
    with ExitStack() as lines:
        for _ in range(MAX_CONNECTIONS + LAST_CONNECTIONS // 2):
            lines.enter_context(socket.create_connection((str(where.hostname), where.port), timeout=30))
        refused = answer(registry, "/api/models")
        assert (refused.status, refused.headers["Retry-After"], refused.headers["Connection"]) == (503, "5", "close")
        assert refused.headers["X-Request-Id"] and "too many connections" in refused.headers["X-Error-Message"]
        assert answer(registry, "/healthz").status == answer(registry, "/readyz").status == 200
        assert answer(registry, "/metrics").status == 200
    deadline = time.monotonic() + 30
    while (status := answer(registry, "/api/models").status) != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status == 200
