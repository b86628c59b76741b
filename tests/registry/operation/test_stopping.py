"""SIGTERM as an orchestrator sends it: not ready first, uploads under way finished, nothing new accepted, a bound."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import pushes
from tests.support.servers import RunningRegistry, environment, init_registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    made = init_registry(tmp_path)
    yield made
    made.stop(how=signal.SIGKILL)


def start(registry: RunningRegistry, *options: str) -> subprocess.Popen[str]:
    port = registry.url.rsplit(":", 1)[1]
    words = [sys.executable, "-m", "embhub_registry", "--dir", str(registry.folder), "serve", "--port", port, *options]
    registry.process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()
    )
    assert registry.process.stdout is not None and registry.url in registry.process.stdout.readline()
    return registry.process


def begin_upload(registry: RunningRegistry, token: str) -> tuple[socket.socket, bytes]:
    """A commit whose head and half of the body are sent; returns the line and the rest."""
    body = pushes.commit_body({"README.md": b"# Slow\n" * 2000})
    head = (
        f"POST /api/models/slow/one/commit/main HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    line = socket.create_connection(("127.0.0.1", int(registry.url.rsplit(":", 1)[1])), timeout=30)
    line.sendall(head.encode() + body[: len(body) // 2])
    return line, body[len(body) // 2 :]


def answer_of(line: socket.socket) -> bytes:
    answer = b""
    while chunk := line.recv(65536):
        answer += chunk
        if b"\r\n\r\n" in answer and b"}" in answer:
            break
    return answer


def test_not_ready_first_then_what_is_under_way_is_finished(registry: RunningRegistry) -> None:
    token = registry.add_user("sam", namespace="slow")
    process = start(registry, "--drain-seconds", "3", "--grace-seconds", "20")
    assert pushes.create(registry, "one", token=token).status == 200
    line, rest = begin_upload(registry, token)
    with line:
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 2.5
        while (ready := registry.get("/readyz")).status != 503:
            assert time.monotonic() < deadline
        assert ready.json()["serving"] == "shutting down" and registry.get("/healthz").status == 200
        time.sleep(3.5)
        with pytest.raises(OSError):  # the draining is over: nothing new is accepted
            socket.create_connection(("127.0.0.1", int(registry.url.rsplit(":", 1)[1])), timeout=5).close()
        assert process.poll() is None, "it waits for the upload"
        line.sendall(rest)
        answer = answer_of(line)
    assert b" 200 " in answer.splitlines()[0]
    commit = json.loads(answer.partition(b"\r\n\r\n")[2])["commitOid"]
    assert process.wait(timeout=20) == 0
    registry.process = None
    with registry.opened() as opened:
        found = opened.database.connection().execute("SELECT 1 FROM revision WHERE id = ?", (commit,)).fetchone()
        assert found is not None and opened.audit_log.problems() == []


@pytest.mark.thorough
def test_an_upload_that_never_ends_is_waited_for_within_bounds(registry: RunningRegistry) -> None:
    token = registry.add_user("sam", namespace="slow")
    process = start(registry, "--grace-seconds", "2")
    assert pushes.create(registry, "one", token=token).status == 200
    line, _ = begin_upload(registry, token)
    with line:
        time.sleep(0.3)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert 1.5 < time.monotonic() - started < 15
        answer = answer_of(line)
        assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 2" in answer.lower(), answer
    registry.process = None
    assert registry.run("check").returncode == 0
