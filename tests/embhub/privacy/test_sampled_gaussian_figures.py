"""RDP of the sampled Gaussian held against figures that were integrated to 40 digits once; no library is asked.

The integral is the definition, E_noise[(likelihood ratio)^order], by Gauss-Legendre quadrature in mpmath.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from embhub.privacy import sampled_gaussian
from embhub.privacy.sampled_gaussian import rounding_slack, sampled_gaussian_rdp

FIGURES = {  # q, sigma, order: the RDP of one step
    (0.1, 1.1, 2.0): 0.012769949946862078,
    (0.1, 1.1, 3.0): 0.022311376571069332,
    (0.7, 1.5, 7.7): 1.3270734489142339,
    (0.9, 3.0, 4.5): 0.20921640297977442,
    (0.3, 2.0, 1.5): 0.018391319218895081,
    (0.01, 0.6, 1.1): 0.00064287337166334162,
    (0.02, 10.0, 63.5): 0.00012921353211265601,
}


@pytest.mark.parametrize(("q", "sigma", "order"), FIGURES, ids=str)
def test_equal_to_what_was_integrated(q: float, sigma: float, order: float) -> None:
    rdp = sampled_gaussian_rdp(q=q, sigma=sigma, order=order)
    assert abs(rdp - FIGURES[q, sigma, order]) <= rounding_slack(order, steps=1)


def test_at_the_ends_of_its_arguments() -> None:
    assert sampled_gaussian_rdp(q=1.0, sigma=2.0, order=3.0) == 3.0 / 8.0
    assert sampled_gaussian_rdp(q=0.0, sigma=2.0, order=3.0) == 0.0
    assert sampled_gaussian_rdp(q=0.0, sigma=0.0, order=math.inf) == 0.0
    assert sampled_gaussian_rdp(q=0.5, sigma=0.0, order=3.0) == math.inf
    assert sampled_gaussian_rdp(q=1.0, sigma=0.0, order=3.0) == math.inf
    assert sampled_gaussian_rdp(q=0.5, sigma=2.0, order=math.inf) == math.inf
    assert sampled_gaussian_rdp(q=1.0, sigma=2.0, order=math.inf) == math.inf
    assert sampled_gaussian_rdp(q=1.0, sigma=0.5, order=1.5) == 3.0
    for wrong in ({"q": -1e-9}, {"q": 1 + 1e-9}, {"sigma": -1e-9}, {"sigma": math.inf}, {"order": 1.0}):
        with pytest.raises(ValueError, match="no sampled Gaussian"):
            sampled_gaussian_rdp(**{"q": 0.5, "sigma": 2.0, "order": 3.0, **wrong})


def test_a_loss_below_rounding_is_not_negative() -> None:
    found = [sampled_gaussian_rdp(q=1e-9, sigma=300.0, order=order) for order in (2.0, 3.0, 7.0, 63.0)]
    assert min(found) >= 0.0 and max(found) <= rounding_slack(2.0, steps=1)


def test_what_rounding_may_add() -> None:
    assert rounding_slack(3.0, steps=1) == 2e-13
    assert rounding_slack(1.5, steps=5) == pytest.approx(4e-12, rel=1e-12)


def test_a_sum_that_cancels_gives_no_bound() -> None:
    """More than four digits lost, at 1e-4 of the largest term, and the order is left out."""
    signs = np.array([1.0, -1.0])
    assert sampled_gaussian._signed_log_sum(np.log([1.0, 1 - 0.9e-4]), signs) == math.inf
    assert sampled_gaussian._signed_log_sum(np.log([1.0, 1.1]), signs) == math.inf
    assert sampled_gaussian._signed_log_sum(np.array([-math.inf, -math.inf]), signs) == math.inf
    assert sampled_gaussian._signed_log_sum(np.array([math.inf, 0.0]), signs) == math.inf
    kept = sampled_gaussian._signed_log_sum(np.log([3.0, 3 - 6e-4]), signs)
    assert kept == pytest.approx(math.log(6e-4), rel=1e-9)


def test_a_series_that_does_not_settle_gives_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.0 < sampled_gaussian_rdp(q=0.5, sigma=10.0, order=1.5) < 1.5 / (2 * 10.0**2)
    monkeypatch.setattr(sampled_gaussian, "_MOST_TERMS", sampled_gaussian._CHUNK)
    assert sampled_gaussian._broken_log_moment(0.5, 10.0, 1.5) == math.inf
