"""The downstream comparison, with drawn images whose worth is known because they are real ones, or rubbish."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bases.workshop import utility
from bases.workshop.utility import NORMALS, REAL, SYNTHETIC, TAUGHT, Utility
from embhub.errors import UsageError
from embhub.progress import Progress


def pictures(count: int, *, finding: bool, seed: int) -> np.ndarray:
    """Noise, with a faint bright square somewhere in the left half where there is a finding."""
    generator = np.random.default_rng(seed)
    images = generator.normal(110, 30, (count, 32, 32))
    if finding:
        for image in images:
            y, x = generator.integers(2, 22), generator.integers(2, 6)
            image[y : y + 8, x : x + 8] += 12
    return np.clip(images, 0, 255).astype(np.uint8)


def labelled(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    images = [pictures(count, finding=True, seed=seed), pictures(count, finding=False, seed=seed + 1)]
    return np.concatenate(images), np.repeat([1, 0], count)


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_good_images_help_and_mislabelled_ones_do_not() -> None:
    seen: list[Progress] = []
    drawn: dict[str, Any] = {
        "positives": pictures(60, finding=True, seed=50),
        "normals": pictures(60, finding=False, seed=51),
        "taught": pictures(60, finding=False, seed=52),
    }
    found = utility.compare(
        labelled(20, 1), labelled(60, 3), per_class=4, seeds=1, steps=50, mirror=False, on_progress=seen.append, **drawn
    )
    assert found.auc_real_plus_synthetic > found.auc_real + 0.05
    assert np.mean(found.aucs[SYNTHETIC]) > np.mean(found.aucs[TAUGHT])
    assert found.gain().mean == pytest.approx(found.auc_real_plus_synthetic - found.auc_real)
    assert (seen[-1].done, seen[-1].total) == (4, 4)


@pytest.mark.thorough
def test_one_seed_gives_one_result() -> None:
    def run() -> Utility:
        return utility.compare(
            labelled(10, 1),
            labelled(20, 3),
            positives=pictures(10, finding=True, seed=5),
            normals=pictures(10, finding=False, seed=6),
            per_class=5,
            seeds=1,
            steps=3,
            noise=0.5,
        )

    assert run() == run()


def test_interval_is_the_paired_t_interval() -> None:
    found = Utility(10, 50, 100, {REAL: (0.8, 0.7, 0.9), SYNTHETIC: (0.9, 0.85, 0.95), NORMALS: (0.8, 0.7, 0.9)})
    mean, half = 0.1, 4.302653 * 0.05 / np.sqrt(3)
    assert found.gain_interval == pytest.approx((mean - half, mean + half), abs=1e-5)
    document = found.to_dict()
    assert document["auc_real"] == 0.8
    assert document["auc_real_plus_synthetic"] == 0.9
    assert document["gain_interval"][0] < 0 < document["gain_interval"][1]
    assert "made no difference" in document["words"]


def test_an_interval_above_nothing_is_called_help_and_below_it_harm() -> None:
    better = Utility(10, 50, 100, {REAL: (0.7, 0.71, 0.69), SYNTHETIC: (0.9, 0.9, 0.9)})
    assert "helped" in better.words()
    worse = Utility(10, 50, 100, {REAL: (0.9, 0.9, 0.9), SYNTHETIC: (0.7, 0.71, 0.69)})
    assert "did harm" in worse.words()


def test_a_single_seed_shows_nothing() -> None:
    found = Utility(10, 50, 100, {REAL: (0.7,), SYNTHETIC: (0.9,)})
    assert found.gain_interval == (-1.0, 1.0)


def test_too_few_real_images_are_refused() -> None:
    few = pictures(4, finding=True, seed=1)
    with pytest.raises(UsageError, match="real images of the rarer kind"):
        utility.compare(labelled(4, 1), labelled(4, 2), positives=few, normals=few, per_class=5)
