"""Evaluations compare fewer pairs of images here: no figure of theirs counts, and each pair takes a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from embhub.diffusion.evaluation import realism


@pytest.fixture(scope="module", autouse=True)
def few_pairs() -> Iterator[None]:
    """Before the evaluations that a file makes once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(realism, "PAIRS", 5)
        yield
