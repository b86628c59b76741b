"""Where the server's log goes: to standard error, to a file, and on a terminal no line for each request."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.servers import RunningRegistry, environment, init_registry


def serve(registry: RunningRegistry, *words: str | Path) -> str:
    """Serve one request with a terminal as standard error; returns what the terminal showed."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "embhub_registry", "--dir", str(registry.folder), "serve", "--port", "0", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment()) as process:
        os.close(theirs)
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{url}/healthz", timeout=20) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    shown = b""
    try:
        while part := os.read(ours, 10_000):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return shown.decode()


@pytest.mark.thorough
def test_a_terminal_shows_no_line_for_each_request_and_a_file_keeps_them(tmp_path: Path) -> None:
    registry = init_registry(tmp_path)
    assert serve(registry) == ""
    log = tmp_path / "registry.log"
    assert serve(registry, "--log", log) == ""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"start", "request", "stop"} <= {row["event"] for row in events}
    assert any(row.get("path") == "/healthz" for row in events)
    refused = registry.run("serve", "--port", "0", "--log", tmp_path / "absent" / "x.log", check=False)
    assert refused.returncode == 7 and "cannot write the log" in refused.stderr
