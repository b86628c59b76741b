"""The comparison of two versions of the server runs at its smallest size; what it measured is not looked at."""

from __future__ import annotations

import shutil

import pytest

from bench import serving


@pytest.mark.slow
@pytest.mark.thorough
def test_two_versions_are_measured_side_by_side() -> None:
    rows, size = serving.measure(serving.ROOT, serving.ROOT, turns=1, seconds=0.1)
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert len(rows) == (12 if nginx else 6) and size > 100_000
    table = serving.render(rows).splitlines()
    assert len(table) == 2 + len(rows) and all(line.count("|") == 9 for line in table)
    assert all(figure > 0 for row in rows for figure in (*row.clock, *row.cpu))


def test_the_page_is_of_a_whole_run() -> None:
    page = serving.PAGE.read_text()
    opening = serving.OPENING.split("{size", maxsplit=1)[0]
    assert page.startswith(opening) and f"{serving.TURNS} turns of {serving.SECONDS:g} s" in page
    assert page.count("| behind nginx |") == 6 == page.count("| alone |")
