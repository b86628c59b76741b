"""A label whose images do not show it is refused, or said on the first line of the data sheet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from embhub.cards.evaluation_on_card import stated_agreement
from embhub.diffusion.datasets.floor import BelowFloorError
from embhub.errors import PrivacyError, UsageError
from embhub.release import at_the_site
from tests.embhub.diffusion.datasets.conftest import Make, write_embedding


def figure(value: float, metric: str = "agreement: share of 200 generated images") -> dict[str, Any]:
    return {"task": "Image classification", "dataset": "films", "metric": metric, "value": value}


def card_with(tmp_path: Path, base: Path, *figures: dict[str, Any]) -> Path:
    return write_embedding(tmp_path / "judged.safetensors", base, evaluation=list(figures))


def first_line(folder: Path) -> str:
    return (folder / "README.md").read_text().splitlines()[0]


@pytest.mark.thorough
def test_without_a_figure_the_first_line_says_so(make: Make) -> None:
    line = first_line(make(per_class=1).folder)
    assert line == "**Not measured: whether the images show their label: sick, well.**"


def test_above_the_floor_nothing_is_said_of_it(make: Make, base: Path, tmp_path: Path) -> None:
    file = card_with(tmp_path, base, figure(0.5), figure(0.1, "AUC, 20 real images"))
    folder = make(classes=["sick=mri, <a>"], embeddings=[str(file)], per_class=1).folder
    assert first_line(folder) == "# Drawn images"
    assert "below_floor" not in json.loads((folder / "dataset.json").read_text())


def test_below_the_floor_a_reason_is_needed(make: Make, base: Path, tmp_path: Path) -> None:
    file = card_with(tmp_path, base, figure(0.9), figure(0.41))
    choices: dict[str, Any] = {"embeddings": [str(file)], "per_class": 1}
    with pytest.raises(BelowFloorError, match=r"sick: 41 %") as caught:
        make(**choices)
    assert "--accept-below-floor" in caught.value.hint and not (tmp_path / "drawn").exists()
    folder = make(**choices, below_floor="a study of weak embeddings").folder
    line = first_line(folder)
    assert line.startswith("**Below the floor: less than half of the images show their label: sick (41 %).")
    assert "a study of weak embeddings" in line and line.endswith("label: well.**")


def test_what_is_no_reason(make: Make, base: Path, tmp_path: Path) -> None:
    file = str(card_with(tmp_path, base, figure(0.1)))
    for reason, error in (
        (" ", UsageError),
        ("a\nb", UsageError),
        ("for Pieter Jansen, born 1958-03-12", PrivacyError),
    ):
        with pytest.raises(error):
            make(embeddings=[file], per_class=1, below_floor=reason)
    with pytest.raises(UsageError, match="no label is below"):
        make(per_class=1, below_floor="a study")


def test_a_figure_that_is_no_share_counts_as_none(tmp_path: Path, base: Path) -> None:
    file = card_with(tmp_path, base, figure(41.0), figure(-1.0))
    card = at_the_site.read(file).card
    assert card is not None and stated_agreement(card) is None
