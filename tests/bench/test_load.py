"""The load on a server: whose CPU time counts, and what is not measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import load
from tests.support.servers import free_port


def test_cpu_time_is_that_of_all_processes_of_a_server() -> None:
    busy = (
        "import os, time; os.fork(); end = time.process_time() + 0.3\n"
        "while time.process_time() < end: pass\n"
        "print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(2):
            process.stdout.readline()
        both = load.family(process.pid)
        assert len(both) == 2 and load.cpu_seconds(both) >= 0.55 > load.cpu_seconds(both[:1])
        for pid in both:
            os.kill(pid, 9)


def test_a_server_that_refuses_is_not_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    port = free_port()
    with load.running([*command, str(port)], port) as process, pytest.raises(RuntimeError, match="404"):
        load.measure(port, load.request("GET", "/missing"), processes=[process.pid], seconds=0.1)
