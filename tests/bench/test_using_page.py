"""The page on using embeddings says what the results say: no figure of its tables is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import compositions, insertion

PAGE = (Path(__file__).parents[2] / "docs/explanation/using-embeddings.md").read_text()


@pytest.mark.parametrize("study", [insertion, compositions], ids=["insertion", "compositions"])
def test_tables_are_those_of_the_results(study: object) -> None:
    rows = json.loads(study.RESULTS.read_text())  # type: ignore[attr-defined]  # both modules have it
    lines = [line for line in study.table(rows).splitlines() if line]  # type: ignore[attr-defined]  # and this
    assert len(lines) > 8
    assert not [line for line in lines if line not in PAGE]


def test_no_picture_is_of_a_person() -> None:
    assert PAGE.count("](../images/using-") == 2 and "phantoms" in PAGE
