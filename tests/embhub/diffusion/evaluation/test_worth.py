"""What generated images are worth in patients, where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.diffusion.evaluation import worth
from tests.support.quick import examples

TRUTH = np.arange(400) % 2 == 1
PEOPLE = [f"p{number // 2}" for number in range(400)]
SHIFTS = {3.0: 0.5, 10.0: 1.0, 30.0: 1.6, 100.0: 2.2}


def scores(shift: float, seed: int, seeds: int = 4) -> list[np.ndarray]:
    """Scores of the same test images by classifiers that tell the classes apart by `shift` deviations."""
    noise = np.random.default_rng(7).normal(size=len(TRUTH))
    extra = np.random.default_rng(seed).normal(size=(seeds, len(TRUTH))) * 0.1
    return [noise + shift * TRUTH + one for one in extra]


CURVE = {count: scores(shift, int(count)) for count, shift in SHIFTS.items()}


@pytest.mark.parametrize("count", [10.0, 30.0])
def test_images_as_good_as_so_many_patients_are_worth_them(count: float) -> None:
    found = worth.in_patients(TRUTH, PEOPLE, CURVE, CURVE[count], rounds=200)
    assert found.value == pytest.approx(count, rel=1e-6)
    assert found.low <= count <= found.high and found.high < 3.5 * count and found.most == 100


def test_images_of_shuffled_labels_are_worth_nothing() -> None:
    rng = np.random.default_rng(0)
    shuffled = [rng.normal(size=len(TRUTH)) for _ in range(4)]
    found = worth.in_patients(TRUTH, PEOPLE, CURVE, shuffled, rounds=200)
    assert found.low == 0 and found.value < 1 and found.high < 3


def test_nothing_is_worth_more_than_was_measured() -> None:
    found = worth.in_patients(TRUTH, PEOPLE, CURVE, scores(4.0, 1), rounds=100)
    assert found.value == found.high == found.most == 100


def test_few_patients_are_read_between_chance_and_the_first_point() -> None:
    found = worth.in_patients(TRUTH, PEOPLE, CURVE, scores(0.25, 2), rounds=100)
    assert 0 < found.value < 3


def test_embeddings_that_differ_widen_the_interval() -> None:
    mixed = [scores(shift, seed, 1)[0] for seed, shift in enumerate((0.6, 1.9, 0.6, 1.9))]
    one = worth.in_patients(TRUTH, PEOPLE, CURVE, scores(1.2, 3), rounds=300)
    several = worth.in_patients(TRUTH, PEOPLE, CURVE, mixed, groups=[0, 1, 0, 1], rounds=300)
    assert several.high - several.low > 1.5 * (one.high - one.low)


@pytest.mark.parametrize("embeddings", [2, 3, 5])
@pytest.mark.parametrize("seeds", [1, 2])
def test_the_interval_holds_the_truth_as_often_as_it_says(embeddings: int, seeds: int) -> None:
    rng = np.random.default_rng([embeddings, seeds])
    groups = list(range(embeddings)) * seeds
    inside = []
    for _ in range(200):
        areas = rng.normal(0.75, 0.02, embeddings)[groups] + rng.normal(0, 0.01, len(groups))
        found = worth._over_seeds(np.tile(areas[:, None], 400), groups, rng)
        low, high = np.quantile(found[1:], [0.025, 0.975])
        inside.append(low <= 0.75 <= high)
    assert 0.9 <= np.mean(inside) < 1


def test_one_classifier_shows_nothing_of_what_others_would_give() -> None:
    areas = np.linspace(0.6, 0.9, 5)[None, :]  # of test patients that were drawn anew
    assert worth._over_seeds(areas, (), np.random.default_rng(0)) == pytest.approx(areas[0])


@settings(max_examples=examples(20), deadline=None)
@given(st.floats(0.3, 1.0), st.lists(st.floats(0.4, 1.0), min_size=1, max_size=6))
def test_it_never_falls_as_images_get_better(reached: float, levels: list[float]) -> None:
    counts = [float(3 * 2**place) for place in range(len(levels))]
    curve = np.array(levels)
    now, better = (worth._meet(counts, curve, value) for value in (reached, min(1.0, reached + 0.05)))
    assert 0 <= now <= better + 1e-9 <= counts[-1] + 1e-9


def test_without_a_curve_there_is_no_worth() -> None:
    with pytest.raises(ValueError, match="curve"):
        worth.in_patients(TRUTH, PEOPLE, {}, CURVE[10.0])
    with pytest.raises(ValueError, match="curve"):
        worth.in_patients(np.ones(4, bool), PEOPLE[:4], CURVE, CURVE[10.0])
