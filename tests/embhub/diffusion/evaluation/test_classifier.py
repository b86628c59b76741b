"""The classifier learns what is there to learn, says so in probabilities, and is the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from embhub.diffusion.evaluation import classifier
from tests.support.quick import quick


def squares(count: int, seed: int, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Grey noise, half of it with a bright square."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 140, (count, 64, 64, 3), dtype=np.uint8)
    labels = np.arange(count) % 2
    for index in np.flatnonzero(labels):
        x, y = rng.integers(8, 40, 2)
        images[index, y : y + 14, x : x + 14] = 230
    return (images if channels == 3 else images[..., 0]), labels


@pytest.mark.parametrize("channels", quick([1], thorough=[3]))
def test_it_learns(channels: int) -> None:
    images, labels = squares(80, 0, channels)
    unseen, truth = squares(60, 1, channels)
    model = classifier.fit(images, labels, classes=("plain", "square"), steps=60, width=8)
    found = model.probabilities(unseen)
    assert found.shape == (60, 2)
    assert np.allclose(found.sum(1), 1)
    assert classifier.area_under_curve(truth == 1, found[:, 1]) > 0.95


@pytest.mark.thorough
def test_classes_may_hold_together() -> None:
    images, labels = squares(80, 0)
    marks = np.stack([labels, 1 - labels], 1)
    model = classifier.fit(images, marks, classes=("square", "plain"), steps=60, width=8)
    found = model.probabilities(squares(40, 1)[0])
    assert not model.exclusive
    assert found[1::2, 0].mean() > found[::2, 0].mean() + 0.3


def test_a_seed_decides_everything() -> None:
    images, labels = squares(20, 0)
    first, again, other = (
        classifier.fit(images, labels, classes=("a", "b"), steps=5, seed=seed, width=8).probabilities(images)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_other_sizes_are_brought_to_its_own() -> None:
    images, labels = squares(10, 0)
    model = classifier.fit(images[:, ::2, ::2], labels, classes=("a", "b"), steps=2, width=8)
    assert model.probabilities(images).shape == (10, 2)


def test_labels_that_do_not_fit_are_refused() -> None:
    images, labels = squares(10, 0)
    with pytest.raises(ValueError, match="as many"):
        classifier.fit(images, labels[:5], classes=("a", "b"))
    with pytest.raises(ValueError, match="columns"):
        classifier.fit(images, np.zeros((10, 3), int), classes=("a", "b"))


def test_area_under_curve_counts_ties_half() -> None:
    truth = np.array([True, True, False, False])
    assert classifier.area_under_curve(truth, np.array([0.9, 0.5, 0.5, 0.1])) == 0.875
    assert np.isnan(classifier.area_under_curve(np.array([True]), np.array([0.5])))


@pytest.mark.parametrize("side", [16, 47, 80])
def test_the_small_network_takes_images_of_other_sides(side: int) -> None:
    images, labels = squares(12, 1)
    learned = classifier.fit(images, labels, classes=("a", "b"), steps=2, side=side)
    assert learned.side == side
    assert learned.probabilities(images).shape == (12, 2)
