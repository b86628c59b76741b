"""Estimators of an audit, against closed forms, other implementations and simulated nulls."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from embhub.audits import statistics
from tests.support.quick import examples

numbers = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30)


@given(numbers, numbers)
def test_auc_counts_pairs_with_ties_at_half(members: list[float], nonmembers: list[float]) -> None:
    pairs = [(m > n) + 0.5 * (m == n) for m, n in itertools.product(members, nonmembers)]
    assert statistics.auc(members, nonmembers) == pytest.approx(sum(pairs) / len(pairs))


@given(numbers, numbers)
def test_swapping_the_classes_mirrors_auc_and_interval(members: list[float], nonmembers: list[float]) -> None:
    area, mirrored = statistics.auc(members, nonmembers), statistics.auc(nonmembers, members)
    assert area == pytest.approx(1 - mirrored)
    low, high = statistics.auc_interval(area, len(members), len(nonmembers))
    other_low, other_high = statistics.auc_interval(mirrored, len(nonmembers), len(members))
    assert 0 <= low <= area <= high <= 1
    assert (low, high) == pytest.approx((1 - other_high, 1 - other_low), abs=1e-6)


def test_interval_keeps_its_width_at_the_ends() -> None:
    low, high = statistics.auc_interval(1.0, 10, 10)
    assert high == 1.0
    assert 0.6 < low < 0.95


def test_interval_above_one_half_is_the_rank_test() -> None:
    deviation = math.sqrt(201 / (12 * 100 * 100))
    assert statistics.auc_interval(0.5 + 1.95 * deviation, 100, 100).low < 0.5
    assert statistics.auc_interval(0.5 + 1.97 * deviation, 100, 100).low > 0.5


@pytest.mark.parametrize(("shift", "count"), [(0.0, 30), (1.0, 30), (2.0, 60)])
def test_interval_covers_the_truth(shift: float, count: int) -> None:
    generator = np.random.default_rng(1)
    truth = float(stats.norm.cdf(shift / math.sqrt(2)))
    rounds, covered = 600, 0
    for _ in range(rounds):
        area = statistics.auc(generator.normal(shift, 1, count), generator.normal(0, 1, count))
        low, high = statistics.auc_interval(area, count, count)
        covered += low <= truth <= high
    assert 0.92 <= covered / rounds <= 0.985


def test_p_value_of_few_members_is_the_exact_permutation_share() -> None:
    members, nonmembers = [5.0, 4.5, 1.5], [4.0, 3.0, 2.0, 1.0, 0.0]
    pooled = np.array(members + nonmembers)
    observed = statistics.auc(members, nonmembers)
    splits = list(itertools.combinations(range(8), 3))
    at_least = sum(
        statistics.auc(pooled[list(chosen)], np.delete(pooled, list(chosen))) >= observed - 1e-12 for chosen in splits
    )
    assert statistics.p_value(members, nonmembers) == pytest.approx(at_least / len(splits))


def test_all_scores_tied_show_nothing() -> None:
    members, nonmembers = [0.0] * 800, [0.0] * 800
    assert statistics.auc(members, nonmembers) == 0.5
    assert statistics.p_value(members, nonmembers) == 1.0
    assert statistics.hits_at(members, nonmembers, 0.01) == 0
    assert statistics.epsilon_bound(members, nonmembers).lower_bound == 0.0


@pytest.mark.parametrize(("count", "epsilon"), [(20, 1.82), (50, 2.78), (100, 3.49), (200, 4.19), (1000, 5.81)])
def test_largest_epsilon_of_a_perfect_attack(count: int, epsilon: float) -> None:
    assert statistics.largest_epsilon(count, count) == pytest.approx(epsilon, abs=0.006)
    separated = statistics.epsilon_bound([1 + i / count for i in range(count)], [-i / count for i in range(count)])
    assert separated.lower_bound == statistics.largest_epsilon(count, count)
    assert (separated.true_positives, separated.false_positives) == (count, 0)


@given(numbers, numbers)
def test_no_scores_show_more_epsilon_than_a_perfect_attack(members: list[float], nonmembers: list[float]) -> None:
    bound = statistics.epsilon_bound(members, nonmembers).lower_bound
    assert 0 <= bound <= statistics.largest_epsilon(len(members), len(nonmembers))


@given(numbers.filter(lambda values: len(values) > 1))
def test_a_tie_at_the_threshold_never_raises_epsilon(values: list[float]) -> None:
    members = [value + 0.5 for value in values]  # never tied with a non-member
    nonmembers = list(values)
    free = statistics.epsilon_bound(members, nonmembers)
    tied = statistics.epsilon_bound([math.floor(value) for value in members], nonmembers)
    assert tied.lower_bound <= free.lower_bound


def test_epsilon_bound_holds_for_randomised_response() -> None:
    """Randomised response with epsilon 1 must be shown to exceed 1 in at most one audit of twenty."""
    generator = np.random.default_rng(3)
    honest = 1 / (1 + math.exp(-1))
    rounds, above = 400, 0
    for _ in range(rounds):
        truth = np.repeat([1.0, 0.0], 200)
        told = np.where(generator.random(400) < honest, truth, 1 - truth) + generator.random(400) * 1e-6
        above += statistics.epsilon_bound(told[:200], told[200:]).lower_bound > 1.0
    assert above / rounds <= 0.05


def test_clopper_pearson_against_scipy() -> None:
    for successes, trials in [(0, 100), (3, 100), (50, 50), (1, 1)]:
        ours = statistics.proportion_interval(successes, trials)
        theirs = stats.binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="exact")
        assert ours == pytest.approx((theirs.low, theirs.high))


def test_zero_of_a_hundred_still_allows_more_than_three_percent() -> None:
    assert statistics.proportion_interval(0, 100).high == pytest.approx(0.036, abs=1e-3)


def test_hits_keep_to_the_false_positive_rate() -> None:
    nonmembers = [float(value) for value in range(100)]
    assert statistics.hits_at([98.5, 97.5, 99.5], nonmembers, 0.01) == 2  # one accusation allowed: 99 itself
    assert statistics.hits_at([98.0], nonmembers, 0.01) == 0  # strictly above


@given(numbers, numbers)
def test_area_under_the_roc_is_the_auc(members: list[float], nonmembers: list[float]) -> None:
    alarms, hits = statistics.roc(members, nonmembers)
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0, 0, 1, 1)
    assert float(np.trapezoid(hits, alarms)) == pytest.approx(statistics.auc(members, nonmembers))


@settings(max_examples=examples(30))
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1, 1)), min_size=1, max_size=20))
def test_units_are_averaged_before_anything_else(pairs: list[tuple[str, float]]) -> None:
    units, means = statistics.average_by_unit([value for _, value in pairs], [unit for unit, _ in pairs])
    assert units == list(dict.fromkeys(unit for unit, _ in pairs))
    for unit, mean in zip(units, means, strict=True):
        assert mean == pytest.approx(np.mean([value for name, value in pairs if name == unit]))


@pytest.mark.thorough
def test_smallest_auc_is_seen_four_times_in_five() -> None:
    truth = statistics.smallest_auc(100, 100, alpha=0.025)
    assert truth == pytest.approx(0.615, abs=0.002)
    shift = math.sqrt(2) * float(stats.norm.ppf(truth))
    generator = np.random.default_rng(5)
    seen = [
        statistics.p_value(generator.normal(shift, 1, 100), generator.normal(0, 1, 100)) <= 0.025 for _ in range(400)
    ]
    assert 0.72 < np.mean(seen) < 0.88


@pytest.mark.parametrize("bad", [[], [math.nan], [[1.0]]])
def test_scores_that_are_no_scores_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        statistics.auc(bad, [0.0])
