"""The normal distribution of the accounting is scipy's, to the last digits; scipy is only not imported."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import special

from embhub.privacy import normal


@given(st.floats(-37, 40))
@example(-0.46875 * math.sqrt(2))
@example(-4.0 * math.sqrt(2))
@example(0.0)
def test_probabilities(value: float) -> None:
    expected = pytest.approx(special.ndtr(value), rel=1e-12, abs=0)
    assert normal.cdf(value) == expected and normal.cdf_of(np.array([value]))[0] == expected


@given(st.floats(-1e6, 40))
@example(-12.0)
@example(math.nextafter(-12.0, 0))
@example(0.0)
def test_their_logarithms(value: float) -> None:
    """An absolute error, since figures add them up; `sampled_gaussian.SLACK` allows 4e-13 a step."""
    expected = pytest.approx(special.log_ndtr(value), rel=1e-15, abs=5e-14)
    assert normal.log_cdf(value) == expected and normal.log_cdf_of(np.array([value]))[0] == expected


@given(st.floats(1e-300, 1 - 1e-12))
def test_quantiles(share: float) -> None:
    assert normal.quantile(share) == pytest.approx(special.ndtri(share), rel=1e-12, abs=1e-15)


def test_quantiles_at_the_ends() -> None:
    assert (normal.quantile(0.0), normal.quantile(1.0)) == (-math.inf, math.inf)
