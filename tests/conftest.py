"""What holds for every test."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from embhub import own_process
from tests.support import tools
from tests.support.quick import further_cases, load_profile

own_process.settle()  # trainings of several workers share this machine

load_profile()

DIFFUSION = Path(__file__).parent / "embhub" / "diffusion"
NUMERICAL = ("training", "adaptation", "dp", "attacks", "families", "copying", "evaluation")
"""Folders whose tests train, or compare losses, rows or areas under a curve: processors round differently."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder, before `-m` selects; and begin with the longest files, or one worker ends last."""
    folders = {DIFFUSION / name for name in NUMERICAL}
    is_numerical = {path: not folders.isdisjoint(path.parents) for path in {item.path for item in items}}
    for item in items:
        if is_numerical[item.path]:
            item.add_marker("numerical")
    for item in list(further_cases(items)):
        item.add_marker("exhaustive")
    seconds = dict.fromkeys((item.path for item in items), 0)
    for item in items:
        if item.get_closest_marker("slow"):
            limit = item.get_closest_marker("timeout")
            seconds[item.path] = max(seconds[item.path], limit.args[0] if limit else 1)
    items.sort(key=lambda item: -seconds[item.path])


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """An empty folder with a short path: a Unix socket's has 107 bytes at most, and that of TMPDIR may be longer."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def pytest_collection_finish() -> None:
    """Garbage is looked for less often, and not among what stays: 13.3 s instead of 14.6 for 937 tests of the core."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where every program has to be there, a test that misses one has failed."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and tools.is_required(report.longrepr[2]):
        report.outcome, report.longrepr = "failed", report.longrepr[2]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once for each absent program who brings it."""
    skipped = terminalreporter.stats.get("skipped", [])
    for line in tools.absent(report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)):
        terminalreporter.write_line(line)
