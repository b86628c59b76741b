"""Composition, conversion, groups and rounding: figures that are known, and bounds that must stay bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import PrivacyError
from embhub.privacy import epsilon as epsilons
from embhub.privacy import rdp
from embhub.privacy.calibration import calibrate_sigma
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.rdp import EVERYTHING, NOTHING, ORDERS, gaussian_curve
from tests.support.quick import quick

DELTA = 1e-5
mechanisms = st.tuples(
    st.sampled_from([0.02, 0.1, 0.5, 1.0]), st.sampled_from([0.5, 0.93, 1.1, 2.7, 20.0]), st.integers(1, 300)
)


def curve(mechanism: tuple[float, float, int]) -> rdp.Curve:
    q, sigma, steps = mechanism
    return gaussian_curve(q=q, sigma=sigma, steps=steps)


@pytest.fixture(scope="module")
def two() -> rdp.Curve:
    return gaussian_curve(q=0.1, sigma=4.9327, steps=500)  # epsilon 2 by this curve; the claim's is smaller


@pytest.mark.parametrize(("releases", "epsilon"), [(2, 2.9), (5, 4.9), (10, 7.3)])
def test_releases_of_epsilon_two_add_up_as_known(two: rdp.Curve, releases: int, epsilon: float) -> None:
    assert rdp.epsilon_of(rdp.compose([two] * releases), delta=DELTA) == pytest.approx(epsilon, abs=0.05)


@pytest.mark.parametrize(("images", "epsilon"), [(2, 5.5), (4, 16), (8, 58)])
def test_groups_by_the_general_bound_as_known(two: rdp.Curve, images: int, epsilon: float) -> None:
    assert rdp.group_epsilon(two, size=images, delta=DELTA) == pytest.approx(epsilon, rel=0.03)


@pytest.mark.parametrize(("images", "epsilon"), [(2, 4.4), (4, 10), (8, 24.5)])
def test_a_single_shot_with_its_sensitivity_grown_stays_below_the_general_bound(images: int, epsilon: float) -> None:
    sigma = 2.1492  # epsilon 2 by this curve
    grown = gaussian_curve(q=1.0, sigma=sigma / images, steps=1)
    exact = rdp.epsilon_of(grown, delta=DELTA)
    assert exact == pytest.approx(epsilon, rel=0.05)
    assert exact <= rdp.group_epsilon(gaussian_curve(q=1.0, sigma=sigma, steps=1), size=images, delta=DELTA)


@given(st.floats(0.8, 30.0), st.sampled_from([2, 3, 4, 8]))
def test_the_general_group_bound_never_undercuts_the_gaussian(sigma: float, size: int) -> None:
    bound = rdp.group_epsilon(gaussian_curve(q=1.0, sigma=sigma, steps=1), size=size, delta=DELTA)
    assert bound >= rdp.epsilon_of(gaussian_curve(q=1.0, sigma=sigma / size, steps=1), delta=DELTA) - 1e-9


@given(st.lists(mechanisms, min_size=1, max_size=5))
def test_composition_never_counts_less_than_any_of_its_parts(parts: list[tuple[float, float, int]]) -> None:
    together = rdp.compose(curve(part) for part in parts)
    epsilon = rdp.epsilon_of(together, delta=DELTA)
    for part in parts:
        assert all(whole >= one for whole, one in zip(together, curve(part), strict=True))
        assert epsilon >= rdp.epsilon_of(curve(part), delta=DELTA)
    assert rdp.epsilon_of(rdp.worst_of(curve(part) for part in parts), delta=DELTA) <= epsilon


@given(mechanisms, st.integers(1, 299))
def test_steps_in_two_goes_cost_as_much_as_in_one(mechanism: tuple[float, float, int], first: int) -> None:
    q, sigma, steps = mechanism
    first = min(first, steps)
    apart = rdp.compose([curve((q, sigma, first)), curve((q, sigma, steps - first))])
    whole = curve(mechanism)
    assert all(a == pytest.approx(b, rel=1e-12, abs=1e-300) for a, b in zip(apart, whole, strict=True))


@given(mechanisms)
def test_a_published_curve_and_epsilon_are_bounds_and_are_taken_again(mechanism: tuple[float, float, int]) -> None:
    actual = curve(mechanism)
    stated = rdp.publish(actual)
    assert all(said >= value for said, value in zip(stated, actual, strict=True))
    assert rdp.supports(stated, actual)
    assert rdp.publish(tuple(value * (1 + 1e-13) for value in actual)) == stated or rdp.supports(
        stated, tuple(value * (1 + 1e-13) for value in actual)
    )
    epsilon = rdp.epsilon_of(actual, delta=DELTA)
    assert epsilon <= rdp.publish_epsilon(epsilon) <= epsilon + 2e-4


@given(mechanisms, st.integers(0, len(ORDERS) - 1), st.floats(1e-4, 0.5))
def test_a_curve_that_was_lowered_anywhere_is_not_taken(
    mechanism: tuple[float, float, int], place: int, by: float
) -> None:
    stated = list(rdp.publish(curve(mechanism)))
    stated[place] *= 1 - by
    assert not rdp.supports(stated, curve(mechanism))
    stated[place] = curve(mechanism)[place] * (1 + by)
    assert not rdp.supports(stated, curve(mechanism)), "nor one that was raised"


@given(mechanisms, st.floats(1.1, 511.0))
def test_between_two_orders_the_chord_is_a_bound(mechanism: tuple[float, float, int], order: float) -> None:
    q, sigma, steps = mechanism
    if q == 1.0:
        assert rdp.at_order(curve(mechanism), order) >= steps * order / (2 * sigma**2) * (1 - 1e-12)


def test_nothing_and_everything() -> None:
    assert rdp.epsilon_of(NOTHING, delta=DELTA) == 0.0
    assert math.isinf(rdp.epsilon_of(EVERYTHING, delta=DELTA))
    assert rdp.compose([]) == NOTHING
    assert rdp.compose([NOTHING, EVERYTHING]) == EVERYTHING
    assert gaussian_curve(q=0.1, sigma=1.0, steps=0) == NOTHING


@pytest.mark.parametrize(
    ("epsilon", "fpr", "tpr"), [(2.0, 0.01, 0.0739), (0.0, 0.01, 0.01001), (1.0, 0.1, 0.2718), (50.0, 0.01, 1.0)]
)
def test_the_largest_true_positive_rate(epsilon: float, fpr: float, tpr: float) -> None:
    assert rdp.largest_tpr(epsilon, delta=DELTA, fpr=fpr) == pytest.approx(tpr, abs=1e-4)
    assert rdp.largest_tpr(math.inf, delta=DELTA, fpr=fpr) == 1.0


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_no_epsilon_without_a_delta(delta: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        rdp.epsilon_of(NOTHING, delta=delta)


@pytest.mark.parametrize(
    ("epsilon", "q", "steps", "delta"),
    [
        (1.0, 0.16, 1000, DELTA), (2.0, 0.1, 500, DELTA), (8.0, 1.0, 1, DELTA), (0.1, 1.0, 1, DELTA),
        pytest.param(90.0, 0.5, 100, 1e-300, marks=pytest.mark.thorough),  # losses have no bound: by RDP alone
    ],
)  # fmt: skip
def test_calibrated_noise_is_the_least_that_keeps_the_promise(
    epsilon: float, q: float, steps: int, delta: float
) -> None:
    sigma = calibrate_sigma(epsilon=epsilon, delta=delta, q=q, steps=steps)
    now, less = (epsilons.compute(Mechanism(q, value, steps), delta=delta) for value in (sigma, sigma - 1e-4))
    assert now.epsilon <= epsilon < less.epsilon
    assert (now.pld is None) == (delta < 1e-200)


def test_opacus_counts_the_calibrated_noise_alike() -> None:
    accountants = pytest.importorskip("opacus.accountants")
    accountant = accountants.RDPAccountant()
    sigma = calibrate_sigma(epsilon=4.0, delta=DELTA, q=0.1, steps=500)
    accountant.history = [(sigma, 0.1, 500)]
    by_curve = rdp.epsilon_of(gaussian_curve(q=0.1, sigma=sigma, steps=500), delta=DELTA)
    assert accountant.get_epsilon(DELTA) == pytest.approx(by_curve, rel=1e-6)
    tighter = accountants.PRVAccountant()
    tighter.history = accountant.history
    assert 3.95 < tighter.get_epsilon(DELTA) <= 4.0 + 0.01 < by_curve, "PRV's own error is 0.01"


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan, 1e-9])
def test_an_epsilon_that_cannot_be_reached_is_refused(epsilon: float) -> None:
    with pytest.raises(PrivacyError):
        calibrate_sigma(epsilon=epsilon, delta=DELTA, q=1.0, steps=1000)


@pytest.mark.parametrize(
    ("q", "sigma", "steps"), quick([(0.05, 4.0, 500), (1.0, 6.0, 16)], thorough=[(0.16, 2.0, 50), (0.32, 1.5, 100)])
)
def test_the_tighter_accountant_of_opacus_never_finds_more_than_is_claimed(q: float, sigma: float, steps: int) -> None:
    """PRV (Gopi, Lee and Wutschitz 2021, arXiv 2106.02848) convolves privacy losses and shares no formula with ours."""
    accountant = pytest.importorskip("opacus.accountants").PRVAccountant()
    accountant.history = [(sigma, q, steps)]
    claimed = rdp.epsilon_of(curve((q, sigma, steps)), delta=DELTA)
    assert 0.85 * claimed < accountant.get_epsilon(DELTA) <= claimed
