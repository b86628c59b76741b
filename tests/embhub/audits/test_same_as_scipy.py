"""The audit's figures are scipy's own, to far more digits than reports are compared to; scipy is only not imported."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special, stats

from embhub.audits import beta, one_run, statistics
from embhub.audits.brent import find_root

SCORES = st.lists(st.floats(-5, 5) | st.integers(-3, 3).map(float), min_size=1, max_size=40)


@given(inside=SCORES, outside=SCORES)
def test_auc_and_p_value(inside: list[float], outside: list[float]) -> None:
    ranks = stats.rankdata(np.concatenate([inside, outside]))
    wins = ranks[: len(inside)].sum() - len(inside) * (len(inside) + 1) / 2
    assert statistics.auc(inside, outside) == wins / (len(inside) * len(outside))
    pooled = np.concatenate([inside, outside])
    if (distinct := np.unique(pooled).size) > 1:
        method = "exact" if distinct == pooled.size else "asymptotic"
        expected = stats.mannwhitneyu(inside, outside, alternative="greater", method=method).pvalue
        assert statistics.p_value(inside, outside) == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize(("members", "nonmembers"), [(100, 100), (2, 5000), (5000, 2), (300, 400), (1, 1)])
@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0])
def test_p_value_of_large_classes(members: int, nonmembers: int, shift: float) -> None:
    random = np.random.default_rng(members)
    inside, outside = random.normal(size=members) + shift, random.normal(size=nonmembers)
    method = "exact" if members * nonmembers <= 10_000 else "asymptotic"
    expected = stats.mannwhitneyu(inside, outside, alternative="greater", method=method).pvalue
    assert statistics.p_value(inside, outside) == pytest.approx(expected, rel=1e-12)


@given(trials=st.integers(1, 5000), share=st.floats(0, 1), alpha=st.sampled_from([0.05, 0.025, 0.05 / 7, 1e-4]))
def test_clopper_pearson(trials: int, share: float, alpha: float) -> None:
    hits = round(trials * share)
    low = 0.0 if hits == 0 else stats.beta.ppf(alpha, hits, trials - hits + 1)
    high = 1.0 if hits == trials else stats.beta.isf(alpha, hits + 1, trials - hits)
    assert statistics.proportion_low(hits, trials, alpha=alpha) == pytest.approx(low, rel=1e-9, abs=0)
    assert statistics.proportion_high(hits, trials, alpha=alpha) == pytest.approx(high, rel=1e-9, abs=0)


@given(a=st.integers(1, 5000), b=st.floats(0.5, 5000), x=st.floats(0, 1))
def test_incomplete_beta(a: int, b: float, x: float) -> None:
    assert beta.regularised(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-8, abs=1e-12)


@given(st.floats(1e-12, 1 - 1e-12))
def test_normal_distribution(share: float) -> None:
    assert beta.normal_quantile(share) == pytest.approx(special.ndtri(share), rel=1e-9, abs=1e-12)
    value = beta.normal_quantile(share)
    assert beta.normal_cdf(value) == pytest.approx(special.ndtr(value), rel=1e-12, abs=0)


@given(trials=st.integers(1, 400), share=st.floats(0, 1), epsilon=st.floats(0.01, 10))
def test_binomial_tails(trials: int, share: float, epsilon: float) -> None:
    correct = round(trials * share)
    chance = 1 / (1 + math.exp(-epsilon))
    expected = stats.binom.sf(correct - 1, trials, chance)
    found = one_run.p_value(2 * trials, trials, correct, epsilon=epsilon, delta=0.0)
    assert found == pytest.approx(expected, rel=1e-12, abs=0)


@given(bend=st.floats(0.01, 5), shift=st.floats(-2, 2), tolerance=st.sampled_from([2e-12, 1e-6]))
def test_roots(bend: float, shift: float, tolerance: float) -> None:
    for function in (
        lambda x: math.tanh(bend * (x - shift)),
        lambda x: (x - shift) ** 3 + bend * (x - shift),
        lambda x: math.exp(bend * x) - math.exp(bend * shift),
        lambda x: math.copysign(abs(x - shift) ** 0.2, x - shift),
    ):
        assert find_root(function, -3.0, 4.0, tolerance=tolerance) == optimize.brentq(
            function, -3.0, 4.0, xtol=tolerance
        )


def test_without_a_change_of_sign_there_is_no_root() -> None:
    with pytest.raises(ValueError, match="same sign"):
        find_root(lambda x: x * x + 1, -1.0, 1.0)
    assert find_root(lambda x: x, 0.0, 1.0) == 0.0
    assert find_root(lambda x: x, -1.0, 0.0) == 0.0


@pytest.mark.thorough
def test_verification_starts_without_scipy() -> None:
    code = (
        "import sys, embhub.client.pulling.pull, embhub.audits.report\n"
        "print(*[name for name in sys.modules if name.startswith('scipy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
