"""Lower bounds from coin flips: known values, the nominal rate on mechanisms of known epsilon, pessimistic ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.audits import one_run


@pytest.mark.parametrize(("guesses", "epsilon"), [(20, 1.82), (50, 2.78), (100, 3.49), (200, 4.19), (1000, 5.81)])
def test_all_guesses_right(guesses: int, epsilon: float) -> None:
    assert one_run.bound(guesses, guesses, guesses, delta=0) == pytest.approx(epsilon, abs=0.005)


def test_the_published_rule_by_hand() -> None:
    """Two guesses of two coins, both right, no delta: chance q^2 under epsilon, so q = sqrt(0.05) is below one half."""
    assert one_run.p_value(2, 2, 2, epsilon=0.0, delta=0) == pytest.approx(0.25)
    assert one_run.bound(2, 2, 2, delta=0) == 0
    # With delta: the chance of one right guess less, spread over one step, times 2 m delta.
    assert one_run.p_value(2, 2, 2, epsilon=0.0, delta=0.01) == pytest.approx(0.25 + 4 * 0.01 * 0.5)


@pytest.mark.parametrize(("epsilon", "noise"), [(1.0, 3.7306), (8.0, 0.60023)])
def test_noise_of_a_gaussian_release(epsilon: float, noise: float) -> None:
    """The analytic Gaussian mechanism of Balle and Wang at delta 1e-5."""
    assert one_run.gaussian_noise(epsilon, 1e-5) == pytest.approx(noise, rel=1e-4)


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_a_mechanism_of_known_epsilon_is_refuted_no_more_often_than_said(epsilon: float) -> None:
    noise, generator = one_run.gaussian_noise(epsilon, 1e-5), np.random.default_rng(7)
    wrong = np.zeros(2)
    for _ in range(100):
        found = flip(generator, 600, noise)
        wrong += [found.lower_bound > epsilon, found.lower_bound_gaussian > epsilon]
    assert (wrong <= 11).all()  # 5 of 100 by rule; 12 or more happen in 0.4 % of such tests


def test_a_broken_mechanism_is_refuted_and_the_gaussian_bound_is_the_tighter() -> None:
    found = flip(np.random.default_rng(1), 1000, one_run.gaussian_noise(2.0, 1e-5) / 10)
    assert 2 < found.lower_bound < found.lower_bound_gaussian


def test_coins_that_nobody_can_guess_show_nothing() -> None:
    generator = np.random.default_rng(3)
    alarms = sum(flip(generator, 400, noise=1e9).lower_bound > 0 for _ in range(200))
    assert alarms <= 18  # 10 by rule


@given(st.integers(1, 60), st.integers(1, 60), st.floats(-5, 5))
def test_scores_that_are_all_alike_certify_nothing(inside: int, outside: int, value: float) -> None:
    found = one_run.audit_coins(np.full(inside, value), np.full(outside, value))
    assert (found.lower_bound, found.lower_bound_gaussian) == (0.0, 0.0)


@given(st.lists(st.integers(0, 3), min_size=4, max_size=40), st.lists(st.integers(0, 3), min_size=4, max_size=40))
def test_breaking_ties_at_random_never_does_worse(inside: list[int], outside: list[int]) -> None:
    pessimistic = one_run.audit_coins(inside, outside).correct
    jitter = np.random.default_rng(0).uniform(0, 0.5, len(inside) + len(outside))
    broken = one_run.audit_coins(inside + jitter[: len(inside)], outside + jitter[len(inside) :]).correct
    assert pessimistic <= broken


def flip(generator: np.random.Generator, coins: int, noise: float) -> one_run.OneRun:
    """Each coin behind a Gaussian release of its own, sensitivity 1."""
    fell = generator.random(coins) < 0.5
    scores = fell + generator.normal(0, noise, coins)
    return one_run.audit_coins(scores[fell], scores[~fell])
