"""RDP of the sampled Gaussian: Opacus's figures, dp-accounting's as bounds, and never less than the truth."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from embhub.privacy.rdp import ORDERS, epsilon_of, gaussian_curve
from embhub.privacy.sampled_gaussian import SLACK, rounding_slack, sampled_gaussian_rdp
from tests.support.quick import others_thorough

OPACUS_ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
MECHANISMS = [(0.1, 1.1), (0.01, 1.0), (0.5, 0.8), (0.16, 2.3), (0.001, 0.7), (0.9, 3.0), (0.02, 10.0), (1.0, 2.0)]


def moment(q: float, sigma: float, order: float) -> float:
    """log E_noise[(likelihood ratio)^order] by quadrature: the definition, in scaled form, as an independent oracle."""

    def log_integrand(z: float) -> float:
        mixed = math.log((1 - q) + q * math.exp((2 * z - 1) / (2 * sigma**2)))
        return order * mixed + stats.norm.logpdf(z, scale=sigma)

    reach = max(order, 2) + 12 * sigma
    top = max(log_integrand(z / 50 * reach) for z in range(-50, 51))
    area, _ = integrate.quad(lambda z: math.exp(log_integrand(z) - top), -reach, reach, limit=400)
    return top + math.log(area)


@pytest.mark.parametrize(("q", "sigma"), others_thorough(MECHANISMS, MECHANISMS[::4]))
def test_equal_to_opacus_at_every_order_of_its_grid(q: float, sigma: float) -> None:
    rdp = pytest.importorskip("opacus.accountants.analysis.rdp")
    for order in OPACUS_ORDERS:
        ours = sampled_gaussian_rdp(q=q, sigma=sigma, order=order) * (order - 1)
        theirs = float(rdp._compute_rdp(q, sigma, order)) * (order - 1)
        assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12)


def test_the_reference_mechanism_to_the_last_digit() -> None:
    rdp = pytest.importorskip("opacus.accountants.analysis.rdp")
    for order in OPACUS_ORDERS:
        theirs = float(rdp._compute_rdp(0.1, 1.1, order))
        assert abs(sampled_gaussian_rdp(q=0.1, sigma=1.1, order=order) - theirs) <= 1e-12


@pytest.mark.parametrize(("orders", "epsilon"), [(OPACUS_ORDERS, 15.1253), (range(2, 64), 15.957)])
def test_the_known_epsilons_with_and_without_fractional_orders(orders: list[float], epsilon: float) -> None:
    curve = [500 * sampled_gaussian_rdp(q=0.1, sigma=1.1, order=order) for order in orders]
    assert epsilon_of(curve, delta=1e-5, orders=list(orders)) == pytest.approx(epsilon, abs=5e-4)


def test_tighter_accountants_stay_below_and_the_central_limit_is_too_low() -> None:
    ours = epsilon_of(gaussian_curve(q=0.1, sigma=1.1, steps=500), delta=1e-5)
    pld = pytest.importorskip("dp_accounting.pld.privacy_loss_distribution")
    exact = pld.from_gaussian_mechanism(1.1, sampling_prob=0.1, value_discretization_interval=1e-3)
    tight = exact.self_compose(500).get_epsilon_for_delta(1e-5)
    assert 13.441 < tight < ours, "the CLT figure 13.441 would claim more than holds"
    assert tight == pytest.approx(13.92, abs=0.05)


def test_dp_accounting_agrees_at_whole_orders_and_is_never_below_ours() -> None:
    """Its series for fractional orders adds absolute values: a looser bound (the integral below decides)."""
    rdp = pytest.importorskip("dp_accounting.rdp")
    events = pytest.importorskip("dp_accounting.dp_event")
    orders = [2.0, 3.0, 8.0, 20.0, 63.0, 1.5, 2.5, 3.7]
    accountant = rdp.RdpAccountant(orders=orders)
    accountant.compose(events.PoissonSampledDpEvent(0.1, events.GaussianDpEvent(1.1)))
    for order, theirs in zip(orders, accountant._rdp, strict=True):
        ours = sampled_gaussian_rdp(q=0.1, sigma=1.1, order=order)
        assert ours == pytest.approx(theirs, rel=1e-9) if order.is_integer() else ours <= theirs


@pytest.mark.parametrize(("q", "sigma"), [(0.1, 1.1), (0.3, 2.0), (0.7, 1.5)])
@pytest.mark.parametrize("order", [1.3, 2.5, 3.0, 7.7])
def test_equal_to_the_integral_that_defines_it(q: float, sigma: float, order: float) -> None:
    rdp = sampled_gaussian_rdp(q=q, sigma=sigma, order=order)
    assert rdp * (order - 1) == pytest.approx(moment(q, sigma, order), rel=1e-6, abs=1e-9)


@given(
    st.floats(1e-6, 0.999), st.floats(0.05, 300.0), st.sampled_from([o for o in ORDERS if o <= 64.0])
)  # fmt: skip
def test_never_more_than_without_sampling_and_never_negative(q: float, sigma: float, order: float) -> None:
    rdp = sampled_gaussian_rdp(q=q, sigma=sigma, order=order)
    assert rdp >= 0.0
    assert math.isinf(rdp) or rdp <= order / (2 * sigma**2) + SLACK / (order - 1)


@given(st.floats(1e-6, 0.999), st.floats(0.1, 100.0))
def test_fractional_orders_lie_between_whole_ones(q: float, sigma: float) -> None:
    """(a - 1) D_a is convex in a, and D_a grows with a: a series gone wrong shows."""
    low, middle, high = (sampled_gaussian_rdp(q=q, sigma=sigma, order=order) for order in (4.0, 4.5, 5.0))
    if not math.isinf(middle):
        slack = 3 * rounding_slack(4.0, steps=1)
        assert low - slack <= middle * (1 + 1e-9) + slack
        assert middle * 3.5 <= (3 * low + 4 * high) / 2 * (1 + 1e-9) + 4 * slack


@pytest.mark.parametrize(
    ("q", "sigma", "order"), [(-0.1, 1, 2), (1.1, 1, 2), (0.1, -1, 2), (0.1, 1, 1), (0.1, math.nan, 2)]
)
def test_nonsense_is_refused(q: float, sigma: float, order: float) -> None:
    with pytest.raises(ValueError, match="no sampled Gaussian"):
        sampled_gaussian_rdp(q=q, sigma=sigma, order=order)


def test_no_noise_is_no_privacy_and_no_sample_is_no_loss() -> None:
    assert math.isinf(sampled_gaussian_rdp(q=0.5, sigma=0.0, order=2.0))
    assert sampled_gaussian_rdp(q=0.0, sigma=0.0, order=2.0) == 0.0
