"""Intervals of paired AUCs, against the definition written out by hand, and against what is known of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from embhub.audits import statistics
from embhub.diffusion.evaluation import outcome, page
from embhub.diffusion.evaluation.cells import Cell, Labelled
from embhub.diffusion.evaluation.fitting import Taught
from embhub.diffusion.evaluation.paired import Estimate, Interval, estimate, holm
from tests.support.quick import examples


def scores(seed: int, truth: np.ndarray, shift: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(truth)) + shift * truth


def delong_by_hand(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Difference and its standard error, from the placements of DeLong, DeLong and Clarke-Pearson, one by one."""
    rows, columns = [], []
    for one in (first, second):
        x, y = one[truth], one[~truth]
        psi = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in y] for a in x])
        rows.append(psi.mean(1))
        columns.append(psi.mean(0))
    covariance = np.cov(rows) / len(rows[0]) + np.cov(columns) / len(columns[0])
    contrast = np.array([1.0, -1.0])
    return float(rows[0].mean() - rows[1].mean()), math.sqrt(contrast @ covariance @ contrast)


@settings(max_examples=examples(20))
@given(st.integers(0, 10**6), st.integers(3, 30), st.integers(3, 30), st.booleans())
def test_delong_is_its_definition(seed: int, positives: int, negatives: int, ties: bool) -> None:
    truth = np.repeat([True, False], [positives, negatives])
    first, second = scores(seed, truth, 1.0), scores(seed + 1, truth, 0.3)
    if ties:
        first, second = first.round(), second.round()
    found = estimate(truth, range(len(truth)), [first], [second], rounds=10)
    difference, error = delong_by_hand(truth, first, second)
    half = 1.959964 * error
    assert found.mean == pytest.approx(difference, abs=1e-12)
    assert (found.delong.low, found.delong.high) == pytest.approx((difference - half, difference + half), abs=1e-6)
    if error:
        assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(difference) / error), abs=1e-9)


def test_one_arm_agrees_with_the_audits_auc_and_bootstrap() -> None:
    truth = np.repeat([True, False], [40, 60])
    people = [place // 2 for place in range(100)]
    one = scores(1, truth, 0.8)
    found = estimate(truth, people, [one], rounds=4000)
    assert found.mean == pytest.approx(statistics.auc(one[truth], one[~truth]))
    generator, areas = np.random.default_rng(3), []
    for _ in range(4000):  # patients, of two images each, with replacement
        images = (2 * generator.integers(0, 50, 50)[:, None] + [0, 1]).ravel()
        areas.append(statistics.auc(one[images][truth[images]], one[images][~truth[images]]))
    assert (found.patients.low, found.patients.high) == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.01)


def test_the_same_scores_in_both_arms_differ_by_nothing() -> None:
    truth = np.repeat([True, False], 20)
    one = scores(1, truth, 0.5)
    found = estimate(truth, range(40), [one, one], [one, one])
    assert found.mean == 0 and found.p_value == 1
    assert found.interval == Interval(0, 0) == found.delong


def test_copies_of_a_patients_images_narrow_delong_and_not_the_patients_interval() -> None:
    truth = np.repeat([True, False], 30)
    first, second = scores(1, truth, 1.0), scores(2, truth, 0.6)
    once = estimate(truth, range(60), [first], [second])
    copies = [np.repeat(part, 4) for part in (truth, first, second)]
    often = estimate(copies[0], [place // 4 for place in range(240)], [copies[1]], [copies[2]])
    width = {name: [one.high - one.low for one in (getattr(once, name), getattr(often, name))] for name in
             ("delong", "patients")}  # fmt: skip
    assert width["delong"][1] < 0.6 * width["delong"][0]
    assert width["patients"][1] == pytest.approx(width["patients"][0], rel=1e-9)


def test_both_sources_of_chance_are_in_the_interval() -> None:
    truth = np.repeat([True, False], 30)
    arms = [[scores(10 * arm + seed, truth, shift) for seed in range(4)] for arm, shift in ((1, 1.0), (2, 0.5))]
    found = estimate(truth, range(60), *arms)
    areas = [[statistics.auc(one[truth], one[~truth]) for one in arm] for arm in arms]
    each = np.subtract(areas[0], areas[1])
    assert found.each_seed == pytest.approx(each.tolist())
    assert found.mean == pytest.approx(each.mean())
    half = stats.t.ppf(0.975, 3) * each.std(ddof=1) / 2
    assert found.seeds is not None and found.seeds.high - found.mean == pytest.approx(half)
    assert found.interval.low == pytest.approx(found.mean - math.hypot(half, found.mean - found.patients.low))
    assert found.interval.high == pytest.approx(found.mean + math.hypot(half, found.patients.high - found.mean))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Two arms whose true AUCs are known, 200 test sets of 40 + 40 images."""
    apart = stats.norm.cdf(1.0 / math.sqrt(2)) - stats.norm.cdf(0.7 / math.sqrt(2))
    truth, held = np.repeat([True, False], 40), {"delong": 0, "patients": 0}
    for round_ in range(200):
        rng = np.random.default_rng([7, round_])
        shared = rng.normal(size=80) * 0.8
        first, second = (shared + 0.6 * rng.normal(size=80) + shift * truth for shift in (1.0, 0.7))
        found = estimate(truth, range(80), [first], [second], rounds=300)
        for name in held:
            interval = getattr(found, name)
            held[name] += interval.low <= apart <= interval.high
    assert all(180 <= count <= 199 for count in held.values()), held


def test_a_large_test_set_is_the_same_in_parts() -> None:
    truth = np.arange(700) % 2 == 0
    first, second = scores(1, truth, 0.5), scores(2, truth, 0.2)
    found = estimate(truth, range(700), [first], [second], rounds=20)
    difference, error = delong_by_hand(truth, first, second)
    assert found.mean == pytest.approx(difference)
    assert found.delong.high - found.mean == pytest.approx(1.959964 * error, abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "arms", "reason"),
    [
        ([True, False, False], [[np.zeros(3)]], "two images of each class"),
        ([True, True, False, False], [[np.zeros(3)]], "one score an image"),
        ([True, True, False, False], [[np.zeros(4)], [np.zeros(4)] * 2], "each seed of each arm"),
        ([True, True, False, False], [[]], "one score an image"),
    ],
)
def test_what_cannot_be_estimated_is_refused(truth: list[bool], arms: list[list[np.ndarray]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        estimate(np.array(truth), range(len(truth)), *arms)


def test_the_interval_that_the_page_gives_for_scale() -> None:
    """100 positives and as many negatives, AUC 0.803 against 0.819, scores that correlate at 0.8."""
    truth, halves = np.repeat([True, False], 100), []
    for round_ in range(60):
        rng = np.random.default_rng([round_, 3])
        shared = rng.normal(size=200) * math.sqrt(0.8)
        first, second = (
            shared + math.sqrt(0.2) * rng.normal(size=200) + math.sqrt(2) * stats.norm.ppf(area) * truth
            for area in (0.819, 0.803)
        )
        found = estimate(truth, range(200), [first], [second], rounds=2)
        halves.append(found.delong.high - found.mean)
    assert np.mean(halves) == pytest.approx(0.041, abs=0.002)
    assert "[-0.025, +0.057]" in page.SCALE


@pytest.mark.parametrize(("images", "people"), [(40, range(80)), (8, range(16)), (40, [n // 10 for n in range(80)])])
def test_no_difference_is_called_without_a_doubt(images: int, people: list[int]) -> None:
    """Where no two images are confused, or few people stand behind them, resampling them shows no spread."""
    truth = np.repeat([True, False], images)
    right, wrong = truth.astype(float), (~truth).astype(float)
    test = Labelled(np.zeros((len(truth), 1, 1, 3), np.uint8), truth.astype(np.int64), tuple(map(str, people)))
    alone, both = Cell(10), Cell(10, "x", 10)
    (same,) = outcome.differences(test, Taught({alone: [right, right], both: [right, right]}, {}), {})
    assert same.gain == 0 and same.interval[0] < -0.01 and same.interval[1] > 0.01
    assert same.outcome.startswith("made no difference")
    (turned,) = outcome.differences(test, Taught({alone: [wrong, wrong], both: [right, right]}, {}), {})
    assert turned.gain == 1 and turned.interval[0] < 0.99 and turned.interval[1] == 1


def test_two_test_images_of_a_class_call_nothing() -> None:
    truth = np.array([True, True, False, False])
    test = Labelled(np.zeros((4, 1, 1, 3), np.uint8), truth.astype(np.int64), tuple("abcd"))
    even, right = np.zeros(4), truth.astype(float)
    (found,) = outcome.differences(test, Taught({Cell(10): [even, even], Cell(10, "x", 10): [right, right]}, {}), {})
    assert found.gain == 0.5 and found.outcome.startswith("made no difference")


def test_many_people_keep_the_paired_interval() -> None:
    truth = np.repeat([True, False], 60)
    test = Labelled(np.zeros((120, 1, 1, 3), np.uint8), truth.astype(np.int64), tuple(map(str, range(120))))
    first, second = scores(1, truth, 1.0), scores(2, truth, 0.5)
    (found,) = outcome.differences(test, Taught({Cell(10): [second], Cell(10, "x", 10): [first]}, {}), {})
    plain = estimate(truth, range(120), [first], [second]).patients
    assert found.patients == (round(plain.low, 4), round(plain.high, 4))


def test_the_bootstrap_is_its_definition_where_a_patient_has_images_of_both_classes() -> None:
    """Patients drawn one by one, all their images with them, and both AUCs of each draw counted pair by pair."""
    rng = np.random.default_rng(5)
    truth = rng.random(24) < 0.5
    people = rng.integers(0, 8, 24)
    arms = [[rng.normal(size=24) + shift * truth for _ in range(2)] for shift in (1.0, 0.4)]
    found = estimate(truth, people.tolist(), *arms, rounds=300, seed=3)
    order = list(dict.fromkeys(people.tolist()))
    weights = np.random.Generator(np.random.PCG64(3)).multinomial(len(order), np.full(len(order), 1 / len(order)), 300)
    drawn = []
    for row in weights:
        places = [place for person, times in zip(order, row, strict=True) for _ in range(times)
                  for place in np.flatnonzero(people == person)]  # fmt: skip
        chosen = truth[places]
        if chosen.any() and not chosen.all():
            areas = [
                np.mean([statistics.auc(one[places][chosen], one[places][~chosen]) for one in arm]) for arm in arms
            ]
            drawn.append(areas[0] - areas[1])
    assert (found.patients.low, found.patients.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


@settings(max_examples=examples(20))
@given(st.floats(-0.3, 0.3), st.floats(0.01, 0.2), st.floats(0.01, 0.2), st.integers(1, 9))
def test_the_p_value_is_under_5_percent_where_the_interval_leaves_out_zero(
    mean: float, patients: float, seeds: float, freedom: int
) -> None:
    around = [Interval(mean - half, mean + half) for half in (patients, seeds)]
    found = Estimate(mean, (mean,), around[0], 1.0, around[0], around[1], freedom)
    assert (found.p_both < 0.05) == (found.interval.low > 0 or found.interval.high < 0)
    assert 0 < found.p_both <= 1


def test_holm_is_its_definition_and_never_less_than_the_p_value() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([]) == ()
    assert holm([0.9, 0.8]) == (1.0, 1.0)


def test_embeddings_are_a_random_effect() -> None:
    """Ten seeds of two embeddings that differ a lot: the seeds of one of them say little of a third one."""
    truth = np.repeat([True, False], 60)
    control = [scores(seed, truth, 1.0) for seed in range(10)]
    arm = [one + (0.8 if seed % 2 else 0.0) * truth for seed, one in enumerate(control)]
    alone = estimate(truth, range(120), arm, control)
    together = estimate(truth, range(120), arm, control, groups=[[seed % 2 for seed in range(10)], [0] * 10])
    assert alone.seeds is not None and together.seeds is not None
    assert alone.interval.low > 0 > together.interval.low
    assert together.freedom == 1 and together.mean == alone.mean
