"""The registry's benchmark runs at its smallest size, with or without its peers; what it measured is not looked at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from bench import load, peers, registry, registry_page
from bench.measurement import Ratio
from bench.registry_page import Row, Section
from tests.support.servers import free_port


@pytest.mark.thorough
@pytest.mark.parametrize("part", registry.SECTIONS.values(), ids=list(registry.SECTIONS))
def test_a_part_runs_without_its_peers(
    part: Callable[[registry.Size], Section], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *words, **options: None)
    section = part(registry.SMALLEST)
    table = [line for line in registry_page.render([section]).splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(section.rows) and section.rows
    assert all(row.ours for row in section.rows)
    goals = {row.goal.partition(":")[0] for row in section.rows} - {""}
    assert goals == {
        "Reading": {"20,000"}, "Pushing": {"under 50 ms"}, "Searching": {"under 10 ms"},
        "Starting": {"at most 2.5 times", "at most 50 ms"},
    }[section.title]  # fmt: skip
    if section.title == "Reading":
        assert any("not installed" in note for note in section.notes)


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
    with peers.running([*command, str(port)], port) as process, pytest.raises(RuntimeError, match="404"):
        load.measure(port, load.request("GET", "/missing"), processes=[process.pid], seconds=0.1)


def test_the_page_says_what_was_missed(tmp_path: Path) -> None:
    row = Row("HEAD", "9", "nginx", "90", Ratio(0.1, 0.1, 0.2), registry_page.held(False, "20,000"))
    path = tmp_path / "page.md"
    section = Section("Reading", "answers", [row])
    registry_page.write([section], {"processor": "some"}, day=date(2026, 11, 20), size="quick", path=path)
    text = path.read_text()
    assert "20,000: **missed**" in text and "0.10 (0.10 to 0.20)" in text and "short run" in text
