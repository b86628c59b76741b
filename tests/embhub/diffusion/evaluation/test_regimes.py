"""What each regime teaches: the same real images and steps in all of them, and nobody on both sides of a split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.diffusion.evaluation import fitting, regimes
from embhub.diffusion.evaluation.cells import Cell, Labelled
from embhub.diffusion.evaluation.networks import find
from embhub.options.regimes import Regime
from tests.support.quick import examples


def pool(counts: tuple[int, int], each: int = 2, first: int = 0) -> Labelled:
    """Images whose one pixel is their number; patients have `each` images of a class."""
    total = sum(counts)
    labels = np.repeat([0, 1], counts)
    images = np.arange(first, first + total, dtype=np.uint8).reshape(total, 1, 1, 1).repeat(3, axis=3)
    return Labelled(images, labels, tuple(f"P{place // each}" for place in range(total)))


REAL, DRAWN = pool((30, 30)), [pool((20, 20), each=1, first=100), pool((20, 20), each=1, first=150)]
ARMS = {"a": DRAWN}


def plan(regime: Regime, seed: int = 4, *, real: int = 10, share: float | None = None) -> list[regimes.Lesson]:
    def judge(drawn: Labelled) -> np.ndarray:  # believes every other image, of either class
        right = np.arange(len(drawn)) % 2 == 0
        return np.where(right, drawn.labels, 1 - drawn.labels).astype(float)

    return regimes.plan(Cell(real, "a", 6, regime), REAL, ARMS, seed, 100, real_share=share, judge=judge)


def numbers(images: Labelled) -> set[int]:
    return set(images.images[:, 0, 0, 0].tolist())


@pytest.mark.parametrize("regime", ["mixed", "pretrained", "filtered", "normals"])
def test_every_regime_has_the_same_real_images_and_steps(regime: Regime) -> None:
    (alone,) = regimes.plan(Cell(10), REAL, {}, 4, 100)
    lessons = plan(regime)
    assert sum(lesson.steps for lesson in lessons) == 100 == alone.steps
    seen = set().union(*(numbers(lesson.images) for lesson in lessons))
    assert {one for one in seen if one < 100} == numbers(alone.images)
    assert numbers(regimes.plan(Cell(10), REAL, {}, 5, 100)[0].images) != numbers(alone.images)


def test_pretraining_ends_with_real_images_alone_at_a_lower_rate() -> None:
    first, second = plan("pretrained")
    assert min(numbers(first.images)) >= 100 and max(numbers(second.images)) < 100
    assert first.rate == 1 and second.rate < 1


def test_a_filter_keeps_what_the_judge_believes() -> None:
    (lesson,) = plan("filtered")
    drawn = {one for one in numbers(lesson.images) if one >= 100}
    assert len(drawn) == 6 and all((one - 100) % 2 == 0 for one in drawn)


def test_normals_have_no_drawn_image_of_the_finding_and_both_classes_equally_often() -> None:
    (lesson,) = plan("normals")
    labels, drawn = lesson.images.labels, lesson.images.images[:, 0, 0, 0] >= 100
    assert set(labels[drawn].tolist()) == {0}
    assert lesson.chances is not None
    assert lesson.chances[labels == 1].sum() == pytest.approx(0.5)


def test_seeds_take_the_embeddings_of_an_arm_in_turn() -> None:
    for seed in range(4):
        (lesson,) = plan("mixed", seed)
        drawn = {one for one in numbers(lesson.images) if one >= 100}
        assert all((one >= 150) == bool(seed % 2) for one in drawn)


@settings(max_examples=examples(30))
@given(st.floats(0.05, 0.95), st.lists(st.integers(1, 30), min_size=4, max_size=4))
def test_the_share_of_real_images_is_what_was_asked_in_each_class(share: float, counts: list[int]) -> None:
    labels = np.repeat([0, 1, 0, 1], counts)
    is_real = np.arange(len(labels)) < counts[0] + counts[1]
    chances = regimes.balance(labels, is_real, share)
    assert chances.sum() == pytest.approx(1)
    for value in (0, 1):
        assert chances[labels == value].sum() == pytest.approx(0.5)
        assert chances[(labels == value) & is_real].sum() == pytest.approx(share / 2)


@settings(max_examples=examples(30))
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.integers(0, 50), st.sampled_from([0.2, 0.5]))
def test_what_is_held_out_is_of_other_patients_and_of_both_classes(
    negatives: int, positives: int, each: int, seed: int, share: float
) -> None:
    images = pool((negatives, positives), each)
    found = regimes.hold_out(images, seed, share=share)
    if found is None:
        return
    rest, held = found
    assert not set(rest.patients) & set(held.patients)
    assert len(rest) + len(held) == len(images)
    for value in (0, 1):
        assert (held.labels == value).sum() >= share * (images.labels == value).sum()
        assert (rest.labels == value).any()


def test_one_patient_of_a_class_cannot_be_set_apart() -> None:
    one = pool((4, 4), each=4)
    assert regimes.hold_out(one, 0) is None
    assert regimes.stoppable(one, [4], 2) == []
    assert regimes.stoppable(REAL, [20], 2) == [20]


@pytest.mark.thorough
def test_early_stopping_keeps_the_weights_that_were_best_on_held_out_patients() -> None:
    """Labels of the held-out images are turned round, so that whatever is learned makes them worse."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (40, 16, 16, 3), dtype=np.uint8)
    labels = np.arange(40) % 2
    images[labels == 1, :8] += 120
    known = Labelled(images[:20], labels[:20], tuple(map(str, range(20))))
    turned = Labelled(images[20:], 1 - labels[20:], tuple(map(str, range(20, 40))))
    choices = fitting.Choices(find("small", steps=40), 16, mirror=False)
    plain = fitting.fit([regimes.Lesson(known, 40)], choices, seed=1)
    stopped = fitting.fit([regimes.Lesson(known, 40, held=turned)], choices, seed=1)
    right = [float((one.probabilities(images)[:, 1].round() == labels).mean()) for one in (plain, stopped)]
    assert right[0] > 0.9 > right[1]


def test_a_pretrained_network_goes_on_from_what_it_learned() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (40, 16, 16, 3), dtype=np.uint8)
    labels = np.arange(40) % 2
    images[labels == 1, :8] += 120
    drawn = Labelled(images, labels, tuple(map(str, range(40))))
    blank = Labelled(np.full((4, 16, 16, 3), 50, np.uint8), np.array([0, 1, 0, 1]), tuple("abcd"))
    choices = fitting.Choices(find("small", steps=40), 16, mirror=False)
    learned = fitting.fit([regimes.Lesson(drawn, 40), regimes.Lesson(blank, 1, 1e-6)], choices, seed=1)
    assert float((learned.probabilities(images)[:, 1].round() == labels).mean()) > 0.9
