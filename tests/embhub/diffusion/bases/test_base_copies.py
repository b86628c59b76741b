"""The gate of a base of X-rays says what the copy check found of its films, and whether it would have found any."""

from __future__ import annotations

from typing import Any

import pytest

from bases.workshop import card
from embhub import builtin_bases as bases
from embhub.diffusion.bases import gate


def figures(suspected: int, caught: int) -> dict[str, Any]:
    found = {
        "films": 642, "patients": 515, "controls": 176, "n": 96, "suspected": suspected, "threshold": 0.00026,
        "smallest_p": {"whole": 0.3}, "planted": {"exact": [20, 20], "turned": [caught, 20]},
    }  # fmt: skip
    return {**bases.info("builtin-xray").figures, "copies": found}


@pytest.mark.parametrize(("suspected", "caught", "met"), [(0, 18, [True, True]), (1, 17, [False, False])])
def test_the_gate_asks_for_no_copy_and_for_eighteen_of_twenty(suspected: int, caught: int, met: list[bool]) -> None:
    rows = [row for row in gate.goals(figures(suspected, caught)) if "films that the base" in row.asked or
            "copies of its films" in row.asked]  # fmt: skip
    assert [row.met for row in rows] == met
    assert rows[0].measured == f"{suspected} of 96" and f"{caught} of 20 or more, fewest: turned" in rows[1].measured


def test_the_card_says_what_was_found() -> None:
    shown = bases.info("builtin-xray")
    shown.figures.update(figures(0, 19))
    text = card.render(shown)
    assert "each of the 642 films of 515 patients" in text and "| turned | 19 of 20 |" in text
