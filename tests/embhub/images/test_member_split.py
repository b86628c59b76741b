"""Where nobody was held out, the remedy offered does not spend a privacy budget a second time."""

from __future__ import annotations

import pytest

from embhub.errors import UsageError
from embhub.images.member_split import choose_sides
from embhub.site.memory.runs import Run

RUN = Run(embedding_digest="0" * 64, base="builtin", caption="mri, {}", token="<x>", vectors=1, members=())


def test_a_plain_training_may_be_repeated() -> None:
    with pytest.raises(UsageError, match="held out") as refused:
        choose_sides(RUN, None, None)
    assert "train again with --holdout" in (refused.value.hint or "")


def test_a_private_training_is_not_repeated_for_an_audit() -> None:
    private = RUN.model_copy(update={"settings": {"protection": {"epsilon": 8.0}}})
    with pytest.raises(UsageError, match="held out") as refused:
        choose_sides(private, None, None)
    hint = refused.value.hint or ""
    assert "train again" not in hint and "--suite mechanism" in hint and "--nonmembers" in hint
