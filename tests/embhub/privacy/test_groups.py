"""Several units of one group: never below the truth, what dp-accounting finds, and far below the general bounds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate

from embhub.privacy import epsilon as epsilons
from embhub.privacy import mixtures, rdp
from embhub.privacy.calibration import calibrate_sigma
from embhub.privacy.loss_distribution import Mechanism, epsilon_of, group_epsilon_of
from tests.support.claims import make_claim
from tests.support.quick import quick

DELTA = 1e-5
EPSILON_2 = Mechanism(0.16, calibrate_sigma(epsilon=2.0, delta=DELTA, q=0.16, steps=50), 50)
SETTINGS = [(EPSILON_2, 2), (EPSILON_2, 8), (Mechanism(0.01, 0.9, 200), 3), (Mechanism(0.5, 3.0, 20), 4)]


@pytest.mark.parametrize(("item", "size"), quick(SETTINGS[:1], thorough=SETTINGS[1:]))
def test_close_to_dp_accounting_from_above(item: Mechanism, size: int) -> None:
    library = pytest.importorskip("dp_accounting.pld.privacy_loss_distribution")
    one = library.from_mixture_gaussian_mechanism(
        item.sigma, sensitivities=range(size + 1), sampling_probs=mixtures.weigh(item.q, size),
        value_discretization_interval=1e-3,
    )  # fmt: skip
    theirs = one.self_compose(item.steps).get_epsilon_for_delta(DELTA)
    assert 0.998 * theirs <= group_epsilon_of(item, size=size, delta=DELTA) <= 1.002 * theirs


@pytest.mark.parametrize(("q", "sigma", "size"), [(0.1, 1.0, 2), (0.7, 0.8, 2), (0.3, 1.5, 4)])
def test_never_below_the_integral_of_one_step(q: float, sigma: float, size: int) -> None:
    for delta in (1e-2, 1e-4):
        epsilon = group_epsilon_of(Mechanism(q, sigma, 1), size=size, delta=delta)
        assert divergence(q, sigma, size, epsilon) <= delta * (1 + 1e-6)
        assert divergence(q, sigma, size, 0.99 * epsilon) > delta


def divergence(q: float, sigma: float, size: int, epsilon: float) -> float:
    """The larger hockey-stick divergence of one step, by quadrature: the definition."""

    def density(z: float) -> float:
        return math.exp(-0.5 * (z / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))

    def mixed(z: float) -> float:
        parts = (math.comb(size, i) * q**i * (1 - q) ** (size - i) * density(z - i) for i in range(size + 1))
        return math.fsum(parts)

    def area(one: object, other: object) -> float:
        def difference(z: float) -> float:
            return max(0.0, one(z) - math.exp(epsilon) * other(z))  # type: ignore[operator]

        edges = np.linspace(-9 * sigma, size + 9 * sigma, 80)
        return math.fsum(integrate.quad(difference, a, b)[0] for a, b in itertools.pairwise(edges))

    return max(area(mixed, density), area(density, mixed))


@pytest.mark.parametrize("size", [2, 3, 8])
def test_where_every_step_reads_all_a_group_is_one_unit_that_counts_as_many(size: int) -> None:
    exact = epsilon_of([Mechanism(1.0, 12.0 / size, 9)], delta=DELTA)
    assert group_epsilon_of(Mechanism(1.0, 12.0, 9), size=size, delta=DELTA) == pytest.approx(exact, rel=1e-9)
    nearly = group_epsilon_of(Mechanism(1 - 1e-9, 12.0, 9), size=size, delta=DELTA)
    assert exact * (1 - 1e-6) <= nearly <= exact * 1.001


def test_a_group_of_one_is_one_and_more_never_cost_less() -> None:
    found = [group_epsilon_of(EPSILON_2, size=size, delta=DELTA) for size in range(1, 9)]
    assert found[0] == epsilon_of([EPSILON_2], delta=DELTA) and found == sorted(found)
    with pytest.raises(ValueError, match="no group"):
        group_epsilon_of(EPSILON_2, size=0, delta=DELTA)


def test_ends_of_cells_are_found_as_far_as_floats_go() -> None:
    for q, sigma, size in ((0.16, 2.0, 8), (1e-4, 0.5, 2), (0.999, 9.0, 3)):
        weights = mixtures.weigh(q, size)
        edges = np.linspace(math.log(weights[0]) - 0.5, 30.0, 4001)
        places, off = mixtures.places(weights, sigma, edges)
        assert off < 1e-12 and (np.diff(places[np.isfinite(places)]) >= 0).all()
        assert np.isinf(places[edges <= math.log(weights[0])]).all()


@pytest.mark.parametrize(("size", "before", "tight"), [(2, 6.1, 4.5), (4, 18.4, 10.1), (8, 84.0, 24.6)])
def test_claims_say_the_tight_figure(size: int, before: float, tight: float) -> None:
    claim = make_claim(unit="image", max_images_per_unit=1, batch=16, sigma=EPSILON_2.sigma, steps=50)
    assert rdp.group_epsilon(claim.curve, size=size, delta=DELTA) == pytest.approx(before, abs=0.1)
    assert epsilons.of_group(EPSILON_2, size=size, delta=DELTA) <= tight
    assert f"at most {tight} for {size}" in " ".join(claim.words())
    assert size != 2 or "for both together, as for twins, epsilon is at most 4.5." in " ".join(
        make_claim(batch=16, sigma=EPSILON_2.sigma, steps=50).words()
    )
