"""The picture of what an embedding adds: its rows are what the pages say, and the pages that show it name phantoms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import before_and_after, findings

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/tutorial/first-embedding.md", "docs/explanation/base-models.md")


@pytest.mark.parametrize("page", PAGES)
def test_pages_show_the_picture_and_say_that_it_is_of_phantoms(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    (words,) = re.findall(r"!\[([^\]]*)\]\([^)]*before-and-after\.png\)", text)
    assert ("hantoms" in words and "bench.before_and_after" in text) or page.endswith("base-models.md")


def test_the_picture_has_three_rows_of_each_finding() -> None:
    columns, gap = before_and_after.COLUMNS, before_and_after.GAP
    with Image.open(before_and_after.PICTURE) as shown:
        assert shown.size == (len(before_and_after.FINDINGS) * (columns * 128 + gap) - gap, 3 * 128)


@pytest.mark.thorough
def test_an_embedding_changes_what_the_base_generates_from_the_same_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def asked(subject: findings.Subject) -> Iterator[str]:
        yield "prostate mri, dark small sharp oval in upper left"

    monkeypatch.setattr(before_and_after, "ask_for", asked)
    real, before, after = before_and_after.rows("prostate-cspca", columns=2)
    assert real.shape == before.shape == after.shape == (2, 128, 128, 3)
    assert all(part.dtype == np.uint8 for part in (real, before, after))
    assert not np.array_equal(before, after)
    # The same noise gives the same patient: both rows are closer to each other than to other patients of theirs.
    near, far = (np.abs(before.astype(int) - other.astype(int)).mean() for other in (after, after[::-1]))
    assert near < far
    assert before_and_after.compose([[real, before, after]] * 2).size == (2 * 2 * 128 + before_and_after.GAP, 3 * 128)
