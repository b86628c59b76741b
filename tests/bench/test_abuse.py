"""The attacks of `bench.abuse`: its table, and that no attack shuts others out. Figures are the bench's to take."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench import abuse
from bench.abuse import Row


def test_the_table() -> None:
    rows = [
        Row("half heads", "behind nginx", 16.0, None, 84, 84, (110.0, 111.0)),
        Row("half heads", "alone", 20.0, 30.0, 0, 26, (107.0, 108.0)),
    ]
    assert abuse.render(rows).splitlines()[2:] == [
        "| half heads | behind nginx | 16 | - | - | 84 of 84 | 110, 111 |",
        "| half heads | alone | 20 | 30 | 1.5 | 0 of 26 | 107, 108 |",
    ]


@pytest.mark.thorough
@pytest.mark.exhaustive
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
    with abuse._served(home) as door:
        row = abuse._row(name, abuse.ATTACKS[name], "alone", door, tokens, seconds=4.0)
    assert row.failed == 0 and row.under is not None and row.under < max(200.0, 10 * row.quiet), row
    assert row.memory[1] - row.memory[0] < 300, row
