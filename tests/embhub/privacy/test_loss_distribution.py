"""Privacy-loss distributions: never below the truth, close to it, and close to what dp-accounting finds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from embhub.privacy import epsilon as epsilons
from embhub.privacy import loss_distribution, loss_grid, rdp
from embhub.privacy.loss_distribution import Mechanism, epsilon_of, most_likely
from tests.support.quick import examples, quick

DELTA = 1e-5
MECHANISMS = [(0.32, 2.0, 50), (0.16, 1.0, 50), (0.1, 4.9, 500), (0.016, 1.0, 1000), (0.99, 3.0, 10), (0.01, 0.5, 100)]
some = st.builds(
    Mechanism,
    q=st.sampled_from([0.01, 0.05, 0.16, 0.5, 0.9]),
    sigma=st.floats(0.6, 12.0),
    steps=st.integers(1, 300),
)


def gaussian_epsilon(loss: float, delta: float) -> float:
    """Balle and Wang's formula by another solver: the truth for one Gaussian."""

    def excess(epsilon: float) -> float:
        one = stats.norm.cdf(loss / 2 - epsilon / loss)
        return float(one - math.exp(epsilon) * stats.norm.cdf(-loss / 2 - epsilon / loss) - delta)

    return float(optimize.brentq(excess, 0.0, 60.0, xtol=1e-12))


def divergence(q: float, sigma: float, epsilon: float) -> float:
    """The larger hockey-stick divergence of one step, by quadrature: the definition."""

    def plain(z: float) -> float:
        return math.exp(-0.5 * (z / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))

    def mixed(z: float) -> float:
        return (1 - q) * plain(z) + q * plain(z - 1)

    def area(one: object, other: object) -> float:
        def difference(z: float) -> float:
            return max(0.0, one(z) - math.exp(epsilon) * other(z))  # type: ignore[operator]

        edges = np.linspace(-9 * sigma, 1 + 9 * sigma, 60)
        return math.fsum(integrate.quad(difference, a, b)[0] for a, b in itertools.pairwise(edges))

    return max(area(mixed, plain), area(plain, mixed))


@pytest.mark.parametrize(("q", "sigma", "steps"), quick(MECHANISMS[:2], thorough=MECHANISMS[2:]))
def test_close_to_dp_accounting_from_above(q: float, sigma: float, steps: int) -> None:
    """Its pessimistic figure at a finer grid is above the truth, and ours is at most a thousandth above that."""
    library = pytest.importorskip("dp_accounting.pld.privacy_loss_distribution")
    one = library.from_gaussian_mechanism(sigma, sampling_prob=q, value_discretization_interval=2e-4)
    theirs = one.self_compose(steps).get_epsilon_for_delta(DELTA)
    assert 0.9995 * theirs <= epsilon_of([Mechanism(q, sigma, steps)], delta=DELTA) <= 1.001 * theirs


LATER = [pytest.param(*rate, marks=pytest.mark.thorough) for rate in [(0.5, 2.0), (0.02, 0.6)]]


@pytest.mark.parametrize(("q", "sigma"), [(0.1, 1.0), (0.9, 0.8), *LATER])
def test_never_below_the_integral_of_one_step(q: float, sigma: float) -> None:
    for delta in (1e-2, 1e-3, 1e-5):
        epsilon = epsilon_of([Mechanism(q, sigma, 1)], delta=delta)
        assert divergence(q, sigma, epsilon) <= delta * (1 + 1e-6)
        assert divergence(q, sigma, 0.995 * epsilon) > delta


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.15, 7.7, 400.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-9])
def test_exact_where_every_step_reads_all(sigma: float, delta: float) -> None:
    truth = gaussian_epsilon(1 / sigma, delta) if stats.norm.cdf(0.5 / sigma) * 2 - 1 > delta else 0.0
    found = epsilon_of([Mechanism(1.0, sigma, 1)], delta=delta)
    assert truth * (1 - 1e-9) <= found <= truth * (1 + 1e-6) + 1e-12
    assert epsilon_of([Mechanism(1.0, sigma * 3, 9)], delta=delta) == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("sigma", [1.0, 2.15, 7.7])
def test_the_grid_itself_stays_above_the_gaussian_formula(sigma: float) -> None:
    """A rate of nearly 1 goes through grid and transform, and may cost no more than reading all."""
    for steps in (1, 7, 60):
        scaled = sigma * math.sqrt(steps)
        exact = gaussian_epsilon(1 / sigma, DELTA)
        assert exact <= epsilon_of([Mechanism(1 - 1e-12, scaled, steps)], delta=DELTA) <= exact * 1.001


@settings(max_examples=examples(30), deadline=None)
@given(some)
def test_more_steps_less_noise_or_a_higher_rate_never_cost_less(item: Mechanism) -> None:
    epsilon = epsilon_of([item], delta=DELTA)
    assert epsilon <= epsilon_of([item._replace(steps=item.steps + max(1, item.steps // 20))], delta=DELTA)
    assert epsilon <= epsilon_of([item._replace(sigma=item.sigma * 0.95)], delta=DELTA)
    assert epsilon <= epsilon_of([item._replace(q=min(1.0, item.q * 1.05))], delta=DELTA)
    assert epsilon <= epsilon_of([item], delta=DELTA / 2)


@settings(max_examples=examples(10), deadline=None)
@given(st.lists(some, min_size=1, max_size=4))
def test_together_costs_no_less_than_each_and_no_more_than_by_rdp(parts: list[Mechanism]) -> None:
    together = epsilons.compose(parts, delta=DELTA)
    assert together == pytest.approx(epsilons.compose(parts[::-1], delta=DELTA), rel=1e-9)
    assert all(together >= epsilons.compose([part], delta=DELTA) * 0.9995 for part in parts)
    curve = rdp.compose(rdp.gaussian_curve(q=q, sigma=sigma, steps=steps) for q, sigma, steps in parts)
    assert together <= rdp.epsilon_of(curve, delta=DELTA)


def test_steps_in_two_goes_cost_as_much_as_in_one() -> None:
    whole = epsilon_of([Mechanism(0.16, 2.0, 50)], delta=DELTA)
    assert epsilon_of([Mechanism(0.16, 2.0, 20), Mechanism(0.16, 2.0, 30)], delta=DELTA) == whole
    assert epsilon_of([Mechanism(0.16, 2.0, 50), Mechanism(0.16, 2.0, 0)], delta=DELTA) == whole
    nearly = [Mechanism(0.16, 2.0, 20), Mechanism(0.16, 2.0000001, 30)]
    assert epsilon_of(nearly, delta=DELTA) == pytest.approx(whole, rel=1e-4)


def test_the_transform_loses_far_less_than_delta_allows_for() -> None:
    """The same composition in longer floats: what doubles lose is a hundredth of the slack, or less."""
    if np.fft.rfft(np.ones(4, dtype=np.longdouble)).dtype != np.clongdouble:
        pytest.skip("this numpy transforms doubles alone")
    for item in (Mechanism(0.32, 2.0, 50), Mechanism(0.02, 1.0, 10_000), Mechanism(0.3, 40.0, 200)):
        composed = loss_distribution._composed((item,))
        assert composed is not None
        ours = composed[0]
        width = float(ours.losses[1] - ours.losses[0])
        step = loss_grid.discretise(item, width, reverse=False)
        assert step is not None
        window = loss_grid.window_of([step], [item.steps], width)
        assert window is not None
        low, length = window
        folded = np.zeros(length, dtype=np.longdouble)
        np.add.at(folded, (step.start + np.arange(len(step.masses))) % length, step.masses.astype(np.longdouble))
        whole = np.fft.irfft(np.fft.rfft(folded) ** item.steps, n=length)[(low + np.arange(length)) % length]
        lost = np.abs(ours.masses[1:] - whole[-len(ours.masses) + 1 :]).sum()
        assert lost < (item.steps + 10) * loss_grid._ROUNDING / 10


def test_the_ledger_writes_down_what_the_claim_does() -> None:
    for sigma in np.linspace(0.8, 9.0, 16):
        for item in (Mechanism(0.16, float(sigma), 50), Mechanism(1.0, float(sigma), 1)):
            composed = rdp.publish_epsilon(epsilons.compose([item], delta=DELTA))
            assert composed == epsilons.compute(item, delta=DELTA).epsilon


def test_nothing_costs_nothing_and_everything_has_no_bound() -> None:
    assert epsilon_of([], delta=DELTA) == 0.0 == epsilons.compose([], delta=DELTA)
    assert epsilon_of([Mechanism(0.5, 1.0, 0)], delta=DELTA) == 0.0
    assert math.isinf(epsilon_of([Mechanism(0.5, 1.0, 100)], delta=1e-300)), "left to RDP"
    assert math.isfinite(epsilons.compose([Mechanism(0.5, 1.0, 100)], delta=1e-300))


@pytest.mark.parametrize("item", [(-0.1, 1, 1), (1.1, 1, 1), (0.5, 0, 1), (0.5, math.nan, 1), (0.5, 1, -1)])
def test_nonsense_is_refused(item: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match="no mechanism has"):
        epsilon_of([Mechanism(*item)], delta=DELTA)


@pytest.mark.parametrize("delta", [0.0, 1.0, math.nan])
def test_no_epsilon_without_a_delta(delta: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        epsilon_of([Mechanism(0.5, 1.0, 1)], delta=delta)


def test_extremes_are_bounded_in_size() -> None:
    """What a hostile claim may ask for: grids stay within MOST_CELLS, and RDP answers where they cannot."""
    for item in [(0.5, 0.05, 1), (0.5, 0.05, 10_000_000), (1e-6, 0.05, 1000), (0.001, 10_000.0, 10_000_000)]:
        composed = loss_distribution._composed(loss_distribution._gather([Mechanism(*item)]))
        assert composed is None or max(len(part.losses) for part in composed) <= loss_grid.MOST_CELLS
        assert epsilons.compute(Mechanism(*item), delta=DELTA).epsilon > 0.0


@pytest.mark.thorough
def test_the_median_claim_needs_less_noise_than_by_rdp_alone() -> None:
    """About 8 % in the middle. Where the Gaussian formula is exact no less noise can do."""
    less = []
    for epsilon in (0.5, 1.0, 2.0, 4.0):
        for q, steps in ((1.0, 1), (0.32, 50), (0.032, 50)):
            tight = least_noise(lambda item: epsilon_of([item], delta=DELTA), q, steps, epsilon, low=0.3, high=100.0)
            less.append(1 - tight / least_noise(by_rdp, q, steps, epsilon, low=tight, high=1.25 * tight))
    assert min(less) > 0.06 and 0.07 < float(np.median(less)) < 0.09


def by_rdp(item: Mechanism) -> float:
    return rdp.epsilon_of(rdp.gaussian_curve(q=item.q, sigma=item.sigma, steps=item.steps), delta=DELTA)


def least_noise(
    spent: Callable[[Mechanism], float], q: float, steps: int, epsilon: float, *, low: float, high: float
) -> float:
    return float(optimize.brentq(lambda sigma: spent(Mechanism(q, sigma, steps)) - epsilon, low, high, rtol=3e-4))


@pytest.mark.parametrize("loss", [0.05, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("chance", [0.5, 0.1, 1e-2, 1e-4])
def test_the_likeliest_event_is_the_best_tests_power(loss: float, chance: float) -> None:
    truth = float(stats.norm.cdf(stats.norm.ppf(chance) + loss))
    exact = most_likely([Mechanism(1.0, 1 / loss, 1)], chance=chance)
    assert exact == pytest.approx(truth, rel=1e-6) and exact >= truth * (1 - 1e-12)
    by_grid = most_likely([Mechanism(1 - 1e-12, 2 / loss, 4)], chance=chance)
    assert truth * (1 - 1e-9) <= by_grid <= truth * 1.002 + 1e-9


@settings(max_examples=examples(30), deadline=None)
@given(some, st.floats(1e-6, 0.9))
def test_the_likeliest_event_is_bounded_by_every_epsilon_and_delta(item: Mechanism, chance: float) -> None:
    most = most_likely([item], chance=chance)
    assert chance <= most <= 1.0
    for delta in (1e-3, 1e-5, 1e-7):
        allowed = math.exp(min(epsilons.loss_epsilon([item], delta=delta), 700.0)) * chance + delta
        assert most <= allowed * (1 + 1e-6) + 1e-9


def test_the_likeliest_event_of_one_step_by_simulation() -> None:
    """The best test of a sampled step, on drawn outcomes: its hits stay below the bound and come close to it."""
    generator, q, sigma = np.random.default_rng(7), 0.3, 0.7
    without = generator.normal(0, sigma, 400_000)
    took = generator.random(400_000) < q
    threshold = np.quantile(without, 0.99)
    hits = float((generator.normal(0, sigma, 400_000) + took > threshold).mean())
    bound = most_likely([Mechanism(q, sigma, 1)], chance=0.01)
    assert hits - 0.002 <= bound <= hits * 1.03 + 0.002


def test_chances_out_of_range_are_refused() -> None:
    assert most_likely([], chance=0.1) == 0.1
    for chance in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="chance"):
            most_likely([Mechanism(0.5, 1.0, 1)], chance=chance)
