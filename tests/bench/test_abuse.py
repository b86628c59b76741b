"""The attacks of `bench.abuse`: its table, and that no attack shuts others out. Figures are the bench's to take."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench import abuse
from bench.abuse import Row
from bench.serving import ROOT


def test_the_table_and_its_opening() -> None:
    rows = [
        Row("half heads", "before, alone", 16.0, None, 84, 84, (110.0, 111.0)),
        Row("half heads", "after, alone", 20.0, 30.0, 0, 26, (107.0, 108.0)),
    ]
    assert abuse.render(rows).splitlines()[2:] == [
        "| half heads | before, alone | 16 | - | - | 84 of 84 | 110, 111 |",
        "| half heads | after, alone | 20 | 30 | 1.5 | 0 of 26 | 107, 108 |",
    ]
    for name in abuse.ATTACKS:
        assert f"| {name} |" in abuse.OPENING


def test_the_page_is_of_a_whole_run() -> None:
    page = abuse.PAGE.read_text()
    assert page.startswith(abuse.OPENING.split("{cards", maxsplit=1)[0]) and f"ran for\n{abuse.SECONDS:g} s." in page
    for way in ("before, alone", "after, alone", "after, behind nginx"):
        assert page.count(f"| {way} |") == len(abuse.ATTACKS)


@pytest.mark.thorough
@pytest.mark.parametrize("name", abuse.ATTACKS)
def test_others_are_served_under_each_attack(name: str, tmp_path: Path) -> None:
    """All of their requests, and the median one within 200 ms, or ten times what it takes where a machine is slow."""
    tokens = abuse._furnish(tmp_path)
    home = tmp_path / "served"
    shutil.copytree(tmp_path / "registry", home)
    try:
        abuse._own_address()
    except SystemExit as error:
        pytest.skip(str(error))
    with abuse._served(ROOT, home) as door:
        row = abuse._row(name, abuse.ATTACKS[name], "alone", door, tokens, seconds=4.0)
    assert row.failed == 0 and row.under is not None and row.under < max(200.0, 10 * row.quiet), row
    assert row.memory[1] - row.memory[0] < 300, row
