"""Bounds on reconstruction: above what attacks reach, below what epsilon and delta say, and moving the right way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from embhub.privacy import epsilon as epsilons
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.rdp import EVERYTHING, NOTHING, gaussian_curve
from embhub.privacy.reconstruction import most_rebuilt, most_rebuilt_by_curve
from tests.support.quick import examples

PRIORS = [1 / 10, 1 / 100, 1 / 1000, 1 / 10_000]
some = st.builds(
    Mechanism, q=st.sampled_from([0.02, 0.16, 0.5, 1.0]), sigma=st.floats(0.7, 10.0), steps=st.integers(1, 200)
)


@pytest.mark.parametrize("chance", PRIORS)
@pytest.mark.parametrize("sigma", [0.7, 2.0, 6.0])
def test_one_gaussian_by_its_formula(sigma: float, chance: float) -> None:
    """Hayes, Mahloujifar and Balle: for one Gaussian the bound is the power of the test by likelihood ratio."""
    truth = float(stats.norm.cdf(stats.norm.ppf(chance) + 1 / sigma))
    found = most_rebuilt([Mechanism(1.0, sigma, 1)], chance=chance)
    assert truth * (1 - 1e-9) <= found <= truth * (1 + 1e-6)
    curve = gaussian_curve(q=1.0, sigma=sigma, steps=1)
    assert found <= most_rebuilt_by_curve(curve, chance=chance) < 1.0


@settings(max_examples=examples(15), deadline=None)
@given(some, st.sampled_from(PRIORS))
def test_between_the_prior_and_what_epsilon_and_delta_say(item: Mechanism, chance: float) -> None:
    most = most_rebuilt([item], chance=chance)
    assert chance <= most <= 1.0
    for delta in (1e-3, 1e-5):
        epsilon = epsilons.compose([item], delta=delta)
        assert most <= math.exp(min(epsilon, 700.0)) * chance + delta * (1 + 1e-6) + 1e-9


@settings(max_examples=examples(15), deadline=None)
@given(some, st.sampled_from(PRIORS))
def test_more_steps_less_noise_or_a_better_prior_never_lower_it(item: Mechanism, chance: float) -> None:
    most = most_rebuilt([item], chance=chance) * (1 - 1e-3)
    assert most <= most_rebuilt([item._replace(steps=2 * item.steps)], chance=chance)
    assert most <= most_rebuilt([item._replace(sigma=item.sigma / 1.5)], chance=chance)
    assert most <= most_rebuilt([item._replace(q=min(1.0, 1.5 * item.q))], chance=chance)
    assert most <= most_rebuilt([item], chance=2 * chance)
    assert most <= most_rebuilt([item, Mechanism(0.1, 3.0, 10)], chance=chance)


def test_the_best_attacker_with_a_list_of_candidates_stays_below() -> None:
    """Ten candidates push the sum ten ways, through 60 sampled noisy steps that are all seen: the likeliest is named.

    That is Bayes' attacker, who knows all else: no other names the true candidate more often.
    """
    generator = np.random.default_rng(11)
    item, candidates, rounds = Mechanism(0.3, 1.0, 60), 10, 4000
    right = 0
    for start in range(0, rounds, 500):
        taken = generator.random((500, item.steps)) < item.q
        seen = generator.normal(0, item.sigma, (500, item.steps, candidates))
        seen[:, :, 0] += taken  # the true one is the first; each pushes along an axis of its own
        ratios = np.log1p(item.q * np.expm1((2 * seen - 1) / (2 * item.sigma**2))).sum(axis=1)
        right += int((ratios.argmax(axis=1) == 0).sum())
        assert start < rounds
    success = right / rounds
    bound = most_rebuilt([item], chance=1 / candidates)
    assert 0.3 < success <= bound + 3 * math.sqrt(success * (1 - success) / rounds)


def test_nothing_released_leaves_the_chance_and_no_privacy_bounds_nothing() -> None:
    assert most_rebuilt([], chance=0.1) == 0.1 == most_rebuilt_by_curve(NOTHING, chance=0.1)
    assert most_rebuilt_by_curve(EVERYTHING, chance=0.1) == 1.0
    for chance in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="chance"):
            most_rebuilt([Mechanism(0.5, 1.0, 1)], chance=chance)
        with pytest.raises(ValueError, match="chance"):
            most_rebuilt_by_curve(NOTHING, chance=chance)
