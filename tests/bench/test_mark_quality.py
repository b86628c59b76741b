"""The comparison of marked images with unmarked ones sees a difference where there is one, and none where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bench.mark_quality import compare, differ, features, real_images


def pictures(count: int, seed: int, *, brighter: float = 0, smooth: bool = False) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        image = rng.normal(rng.normal(120, 10) + brighter, 20, (64, 64))
        if smooth:
            image = (image + np.roll(image, 1, 0)) / 2**0.5 + (1 - 2**0.5) * image.mean()
        found.append(np.clip(image, 0, 255).astype(np.uint8))
    return found


def values_of(seed: int) -> torch.Tensor:
    return torch.from_numpy(features(pictures(30, seed)))


def test_images_of_one_kind_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    values = [differ(values_of(10 * number + 1), values_of(10 * number + 2), rng) for number in range(10)]
    assert min(values) > 0.005 and max(values) > 0.3


def test_brighter_or_smoother_images_differ_and_are_farther_from_real_ones() -> None:
    real, plain = features(pictures(60, 1)), features(pictures(60, 2))
    for other in (pictures(60, 3, brighter=8), pictures(60, 3, smooth=True)):
        found = compare(features(other), plain, real)
        assert found["p_value"] < 0.01
        assert found["marked_to_real"] > found["plain_to_real"] and found["gap_interval"][0] > 0


def test_every_prompt_has_real_images() -> None:
    (image, *others) = real_images("histology, normal", 3, 128, Path())
    assert image.shape == (128, 128) and image.dtype == np.uint8 and len(others) == 2
    assert not np.array_equal(image, others[0])
