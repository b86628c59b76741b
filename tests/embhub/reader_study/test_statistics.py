"""Figures and intervals against what is known, and how often intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embhub.reader_study import statistics
from embhub.reader_study.statistics import mean_auc, mean_share
from tests.support.quick import examples

ratings = arrays(np.float64, st.tuples(st.just(2), st.integers(2, 6)), elements=st.integers(1, 5).map(float))


@settings(max_examples=examples(12))
@given(ratings, ratings)
def test_the_auc_is_the_share_of_pairs_in_order(real: np.ndarray, generated: np.ndarray) -> None:
    pairs = [
        (drawn > seen) + (drawn == seen) / 2
        for reader in range(2)
        for drawn in generated[reader]
        for seen in real[reader]
    ]
    found = mean_auc(real, generated)
    assert found.value == pytest.approx(np.mean(pairs)) and 0 <= found.low <= found.high <= 1
    assert mean_auc(generated, real).value == pytest.approx(1 - found.value)


def test_perfect_agreement_is_no_certainty() -> None:
    """Ten of ten: the lower limit is the exact binomial one, .025 to the power 1/10."""
    found = mean_auc(np.full((3, 10), 1.0), np.full((3, 10), 5.0))
    assert (found.value, found.high) == (1.0, 1.0) and found.low == pytest.approx(0.6915, abs=1e-4)
    none = mean_share(np.zeros((3, 10)))
    assert (none.value, none.low) == (0.0, 0.0) and none.high == pytest.approx(0.3085, abs=1e-4)


def test_more_readers_who_agree_with_nobody_narrow_the_interval() -> None:
    generator = np.random.default_rng(0)
    few, many = ((generator.random((readers, 40)) < 0.5).astype(float) for readers in (1, 12))
    widths = [found.high - found.low for found in (mean_share(few), mean_share(many))]
    assert widths[1] < widths[0]


@pytest.mark.thorough
def test_intervals_hold_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers and cases both vary: of intervals that claim 95 %, at least 88 % hold the mean over all of both."""
    monkeypatch.setattr(statistics, "REPLICATES", 300)
    generator, held = np.random.default_rng(1), 0
    draws = 200
    for _ in range(draws):
        lean = generator.normal(0, 0.1, (5, 1)) + generator.normal(0, 0.15, (1, 40)) + 0.5
        answers = (generator.random((5, 40)) < lean).astype(float)
        found = mean_share(answers)
        held += found.low <= 0.5 <= found.high
    assert held / draws >= 0.88
