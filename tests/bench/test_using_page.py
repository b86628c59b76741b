"""The page on using embeddings says what the results say: no figure of its tables is typed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench import compositions, insertion

DOCS = Path(__file__).parents[2] / "docs"
PAGE, IMAGES = (DOCS / "explanation/using-embeddings.md").read_text(), DOCS / "images"


@pytest.mark.parametrize("study", [insertion, compositions], ids=["insertion", "compositions"])
def test_tables_are_those_of_the_results(study: object) -> None:
    rows = json.loads(study.RESULTS.read_text())  # type: ignore[attr-defined]  # both modules have it
    lines = [line for line in study.table(rows).splitlines() if line]  # type: ignore[attr-defined]  # and this
    assert len(lines) > 8
    assert not [line for line in lines if line not in PAGE]


def test_both_pictures_are_there_and_said_to_be_of_phantoms() -> None:
    shown = re.findall(r"!\[([^\]]*)\]\(\.\./images/(using-[a-z]+\.png)\)", PAGE)
    assert {name for _, name in shown} == {"using-insertion.png", "using-interpolation.png"}
    assert all("phantom" in words.lower() and (IMAGES / name).exists() for words, name in shown)
