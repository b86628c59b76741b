"""The comparison of two versions of the server runs at its smallest size; what it measured is not looked at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench import serving


@pytest.mark.slow
@pytest.mark.thorough
def test_two_versions_are_measured_side_by_side() -> None:
    rows, size = serving.measure(serving.ROOT, serving.ROOT, turns=1, seconds=0.1)
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert len(rows) == (14 if nginx else 7) and size > 100_000
    table = serving.render(rows).splitlines()
    assert len(table) == 2 + len(rows) and all(line.count("|") == 9 for line in table)
    held = serving.render(rows, serving.GOAL).splitlines()
    assert sum(f"{serving.GOAL:g}: " in line for line in held) == (6 if nginx else 3)
    assert all(figure > 0 for row in rows for figure in (*row.clock, *row.cpu))


@pytest.mark.parametrize(("page", "introduction", "ways"), [
    (serving.PAGE, serving.INTRODUCTION, 6), (serving.GOAL_PAGE, serving.GOAL_INTRODUCTION, 7),
])  # fmt: skip
def test_the_pages_are_of_whole_runs(page: Path, introduction: str, ways: int) -> None:
    text = page.read_text()
    assert text.startswith(introduction + serving.OPENING.split("{size", maxsplit=1)[0])
    assert f"{serving.TURNS} turns of {serving.SECONDS:g} s" in text
    assert text.count("| behind nginx |") == ways == text.count("| alone |")
