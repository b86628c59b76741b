"""Noise of several sites: claims against the true loss on whole numbers, computed outcome by outcome."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embhub.diffusion.dp import second_opinion
from embhub.privacy import epsilon as epsilons
from embhub.privacy import studies
from embhub.privacy.calibration import calibrate_share, calibrate_sigma
from embhub.privacy.studies import StudyNoise, check_sites, closeness

Masses = NDArray[np.float64]
DELTA = 1e-5
STUDY = StudyNoise(
    sites=5, dropouts=1, colluders=1, clip_units=65536, share_variance=2**31, width=1024, q=0.16, steps=50
)


def share(variance: float) -> Masses:
    """The masses of one discrete Gaussian; what lies outside is below 1e-30."""
    reach = math.ceil(13 * math.sqrt(variance)) + 1
    masses = np.exp(-(np.arange(-reach, reach + 1, dtype=np.float64) ** 2) / (2 * variance))
    return np.asarray(masses / masses.sum())


def total_of(shares: int, variance: float) -> Masses:
    """The masses of a sum of shares."""
    whole = one = share(variance)
    for _ in range(shares - 1):
        whole = np.convolve(whole, one)
    return whole


def true_epsilon(noise: Masses, *, by: int, q: float, steps: int, delta: float) -> float:
    """The exact epsilon of a sampled sum that one patient moves by `by`, over all outcomes of all steps."""
    without, there = np.pad(noise, (0, by)), np.pad(noise, (by, 0))
    return of_pair(without, (1 - q) * without + q * there, steps=steps, delta=delta)


def of_pair(without: Masses, mixed: Masses, *, steps: int, delta: float) -> float:
    one, other = without.ravel(), mixed.ravel()
    for _ in range(steps - 1):
        one, other = np.outer(one, without).ravel(), np.outer(other, mixed).ravel()
    return max(_least(one, other, delta), _least(other, one, delta))


def _least(one: Masses, other: Masses, delta: float) -> float:
    """A lower bound, tight to 1e-9, of the smallest epsilon with a hockey-stick divergence of at most delta."""
    low, high = 0.0, 80.0
    for _ in range(40):
        middle = (low + high) / 2
        spent = float(np.maximum(one - math.exp(middle) * other, 0).sum())
        low, high = (low, middle) if spent <= delta else (middle, high)
    return low


def study(shares: int, variance: int, clip: int, *, q: float, steps: int, width: int = 1) -> StudyNoise:
    """One whose claim against sites counts `shares` shares."""
    return StudyNoise(
        sites=shares + 2, dropouts=1, colluders=1, clip_units=clip, share_variance=variance, width=width, q=q,
        steps=steps,
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    shares=st.integers(2, 6),
    variance=st.integers(studies.SMALLEST_SHARE, 60),
    clip=st.integers(1, 12),
    q=st.sampled_from([0.05, 0.3, 0.9, 1.0]),
    steps=st.integers(1, 2),
    delta=st.sampled_from([1e-6, 1e-4, 1e-2]),
)
def test_no_claim_is_below_the_true_loss(
    shares: int, variance: int, clip: int, q: float, steps: int, delta: float
) -> None:
    noise = study(shares, variance, clip, q=q, steps=steps)
    claimed = noise.epsilon(noise.against_sites, delta=delta)
    assert claimed >= true_epsilon(total_of(shares, variance), by=clip, q=q, steps=steps, delta=delta)


@pytest.mark.parametrize("shift", [(3, 4), (5, 0), (4, -3), (0, -5)])
@pytest.mark.parametrize("q", [0.3, 1.0])
def test_no_claim_is_below_the_true_loss_of_vectors(shift: tuple[int, int], q: float) -> None:
    noise, masses = study(2, 16, 5, q=q, steps=1, width=2), total_of(2, 16)
    without = np.outer(np.pad(masses, 5), np.pad(masses, 5))
    there = np.roll(without, shift, axis=(0, 1))
    true = of_pair(without, (1 - q) * without + q * there, steps=1, delta=1e-4)
    claimed = noise.epsilon(noise.against_sites, delta=1e-4)
    assert true <= claimed <= 1.25 * true


@pytest.mark.parametrize("q", [0.2, 1.0])
def test_the_claim_is_close_to_the_true_loss_on_a_fine_grid(q: float) -> None:
    noise = study(4, 2500, 60, q=q, steps=1)
    true = true_epsilon(total_of(4, 2500), by=60, q=q, steps=1, delta=DELTA)
    assert true <= noise.epsilon(noise.against_sites, delta=DELTA) <= 1.01 * true + 2e-4


@pytest.mark.parametrize("q, steps", [(0.1, 50), (0.3, 20), (1.0, 8)])
def test_over_many_steps_the_claim_is_above_what_another_accountant_finds_for_the_masses_themselves(
    q: float, steps: int
) -> None:
    """dp-accounting composes the masses of the sum of shares, and knows of no Gaussian; its estimate is optimistic."""
    library = pytest.importorskip("dp_accounting.pld.privacy_loss_distribution")
    noise, masses = study(3, 300, 20, q=q, steps=steps), total_of(3, 300)
    without, there = np.pad(masses, (0, 20)), np.pad(masses, (20, 0))
    mixed = (1 - q) * without + q * there
    with np.errstate(divide="ignore"):
        logs = [dict(enumerate(np.log(each).tolist())) for each in (without, mixed)]
    found = max(
        library.from_two_probability_mass_functions(
            lower, upper, pessimistic_estimate=False, value_discretization_interval=1e-3
        )
        .self_compose(steps)
        .get_epsilon_for_delta(DELTA)
        for lower, upper in (logs, logs[::-1])
    )
    claimed = noise.epsilon(noise.against_sites, delta=DELTA)
    assert found <= claimed <= 1.05 * found + 0.02


def test_counting_the_noise_of_missing_sites_would_be_below_the_true_loss() -> None:
    noise = StudyNoise(
        sites=6, dropouts=2, colluders=0, clip_units=8, share_variance=30, width=1, q=1.0, steps=1
    )  # fmt: skip
    true = true_epsilon(total_of(4, 30), by=8, q=1.0, steps=1, delta=DELTA)
    everybody_there = noise._with(6)
    assert noise.epsilon(everybody_there, delta=DELTA) < true <= noise.epsilon(noise.against_outsiders, delta=DELTA)


def test_the_noise_of_colluders_does_not_count() -> None:
    noise = StudyNoise(sites=5, dropouts=1, colluders=2, clip_units=8, share_variance=30, width=1, q=1.0, steps=1)
    true = true_epsilon(total_of(2, 30), by=8, q=1.0, steps=1, delta=DELTA)
    outsiders, colluders = (
        noise.epsilon(against, delta=DELTA) for against in (noise.against_outsiders, noise.against_sites)
    )
    assert outsiders < true <= colluders


@pytest.mark.parametrize(
    "sites, dropouts, colluders, variance, clip, q, delta, true",
    [(2, 0, 0, 16, 4, 1.0, 1e-5, 4.39), (2, 0, 1, 16, 4, 1.0, 1e-5, 4.39), (4, 1, 0, 30, 8, 0.3, 1e-6, 3.611),
     (3, 0, 1, 40, 8, 0.5, 1e-4, 2.514), (4, 1, 1, 30, 8, 0.3, 1e-6, 3.611)],
)  # fmt: skip
def test_the_second_figure_holds_against_a_site_that_knows_its_own_share(
    sites: int, dropouts: int, colluders: int, variance: int, clip: int, q: float, delta: float, true: float
) -> None:
    """What an honest site sees of a patient at another: the sum together with its own share, every outcome counted."""
    own, others = share(variance), total_of(sites - dropouts - 1, variance)
    wide = np.zeros((len(own), len(own) + len(others) - 1 + clip))
    for place, mass in enumerate(own):  # a row for each value of its share, a column for each sum
        wide[place, place : place + len(others)] = mass * others
    found = of_pair(wide, (1 - q) * wide + q * np.roll(wide, clip, axis=1), steps=1, delta=delta)
    assert found == pytest.approx(true, abs=0.01)
    noise = StudyNoise(sites, dropouts, colluders, clip, variance, 1, q, 1)
    outsiders = noise.epsilon(noise.against_outsiders, delta=delta)
    assert outsiders < found <= noise.epsilon(noise.against_sites, delta=delta) <= 1.25 * found


@pytest.mark.parametrize("colluders", [0, 1, 2])
def test_the_second_figure_holds_for_outsiders_where_as_many_sites_leave_their_noise_out(colluders: int) -> None:
    noise = StudyNoise(6, 1, colluders, 8, 30, 1, 1.0, 1)
    true = true_epsilon(total_of(5 - max(1, colluders), 30), by=8, q=1.0, steps=1, delta=DELTA)
    assert noise.epsilon(noise.against_outsiders, delta=DELTA) < true
    assert true <= noise.epsilon(noise.against_sites, delta=DELTA)


def rounded_gaussian(variance: float, reserve: float, reach: int) -> Masses:
    """A continuous Gaussian of `variance` less `reserve`, rounded by a discrete Gaussian of `reserve`: integrated."""
    whole, step = np.arange(-reach, reach + 1), 1 / 400
    z = np.arange(-reach - 8, reach + 8 + step / 2, step)
    density = np.exp(-(z**2) / (2 * (variance - reserve))) / math.sqrt(2 * math.pi * (variance - reserve))
    to = np.arange(-reach - 30, reach + 31)
    weights = np.exp(-((to[:, None] - z) ** 2) / (2 * reserve)).sum(0)
    kernel = np.exp(-((whole[:, None] - z) ** 2) / (2 * reserve)) / weights
    return np.asarray((kernel * density).sum(1) * step)


@pytest.mark.parametrize("variance", [0.25, 0.4, 0.7])
@pytest.mark.parametrize("shares", [1, 2, 3, 5])
@pytest.mark.parametrize("reserve", [0.12, 0.2])
def test_the_distance_to_a_rounded_gaussian_is_bounded(variance: float, shares: int, reserve: float) -> None:
    bound = closeness(shares, variance, reserve)
    there, reach = total_of(shares, variance), 4
    middle = len(there) // 2
    ideal = rounded_gaussian(shares * variance, reserve, reach)
    ratios = np.abs(np.log(there[middle - reach : middle + reach + 1] / ideal))
    assert 1e-6 < ratios.max() <= bound
    assert bound <= 100 * ratios.max()


@pytest.mark.parametrize("variance", [0.2, 0.4, 0.8])
def test_one_share_is_a_gaussian_at_whole_numbers_up_to_its_factor(variance: float) -> None:
    places = np.arange(-20, 21)
    factor = np.exp(-(places**2) / (2 * variance)).sum() / math.sqrt(2 * math.pi * variance)
    assert closeness(1, variance, 4.0) == pytest.approx(math.log(factor), rel=0.02)
    assert closeness(1, variance, 4.0) >= math.log(factor)


def test_the_distance_is_nothing_for_real_studies_and_is_counted() -> None:
    assert 0 < STUDY.closeness < 1e-25
    with pytest.raises(ValueError, match="too coarse"):
        dataclasses.replace(STUDY, share_variance=15)
    assert math.isinf(closeness(2, 0.01, 4.0))


@pytest.mark.parametrize("sites", [2, 3, 8, 20])
@pytest.mark.parametrize("q, steps", [(0.16, 50), (1.0, 4)])
def test_a_calibrated_share_keeps_the_promise_with_none_to_spare(sites: int, q: float, steps: int) -> None:
    dropouts = (sites - 2) // 2
    variance = calibrate_share(
        epsilon=2.0, delta=DELTA, q=q, steps=steps, sites=sites, dropouts=dropouts, clip_units=65536
    )
    noise = StudyNoise(sites, dropouts, 0, 65536, variance, 4096, q, steps)
    assert 1.995 < noise.epsilon(noise.against_outsiders, delta=DELTA) <= 2.0
    sigma = calibrate_sigma(epsilon=2.0, delta=DELTA, q=q, steps=steps)
    assert noise.against_outsiders.sigma == pytest.approx(sigma, rel=1e-6)
    assert noise.against_outsiders.sigma >= sigma


def test_one_accountant_counts_both_figures_and_opacus_agrees() -> None:
    pytest.importorskip("opacus.accountants")
    for against in (STUDY.against_outsiders, STUDY.against_sites):
        assert STUDY.epsilon(against, delta=DELTA) == epsilons.compute(against, delta=DELTA).epsilon
        assert second_opinion.check_plan(against, delta=DELTA).agreement == "agrees"
    assert STUDY.against_outsiders.sigma == pytest.approx(math.sqrt(4 * 2**31) / 65536)
    assert STUDY.against_sites.sigma == pytest.approx(math.sqrt(3 * 2**31) / 65536)


@given(sites=st.integers(2, 30), dropouts=st.integers(0, 15), colluders=st.integers(0, 15))
def test_sites_are_enough_so_that_two_sets_never_both_have_a_quorum(sites: int, dropouts: int, colluders: int) -> None:
    quorum, liars = sites - dropouts, max(1, colluders)  # the coordinator's own site is one, and is always counted
    # Honest sites sign one set each, those that lie any: two sets need two quorums of them.
    could_sign_two = 2 * quorum <= (sites - liars) + 2 * liars
    if could_sign_two:
        with pytest.raises(ValueError, match="too few"):
            check_sites(sites, dropouts, colluders)
    else:
        check_sites(sites, dropouts, colluders)


@pytest.mark.parametrize(
    "change",
    [{"sites": 1, "dropouts": 0, "colluders": 0}, {"sites": 101}, {"dropouts": -1}, {"clip_units": 0}, {"width": 0},
     {"q": 0.0}, {"q": 1.5}, {"steps": 0}, {"colluders": 3},
     {"clip_units": studies.MOST_CLIP_UNITS + 1}, {"clip_units": 65536.5},
     {"share_variance": 2.0**31}, {"sites": 5.0}, {"dropouts": 0.5}, {"colluders": 0.0}, {"width": 1024.0},
     {"steps": 50.0}, {"dropouts": True}],
)  # fmt: skip
def test_numbers_that_no_study_has_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        dataclasses.replace(STUDY, **change)
