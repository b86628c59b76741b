"""Spacing: whether images of a set repeat, whatever the size of the set and of the real one beside it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from bases.workshop import xray
from bases.workshop.xray_judge import colour
from embhub.diffusion.evaluation import fidelity, realism
from embhub.diffusion.evaluation.cells import Pictures
from tests.support.tools import DATA, needs_films

SIZES = [(500, 20), (20, 108), (108, 108), (500, 108)]


def thumbnails(images: Pictures) -> Tensor:
    """Grey values of 8 x 8 places."""
    values = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.adaptive_avg_pool2d(values.mean(1, keepdim=True), 8).flatten(1)


def smooth(count: int, seed: int) -> Pictures:
    """Images of five shades that blend into one another: far fewer dimensions than pixels, as real ones have."""
    shades = np.random.default_rng(seed).uniform(0, 255, (count, 5))
    images = np.apply_along_axis(lambda row: np.interp(np.linspace(0, 4, 16), np.arange(5), row), 1, shades)
    return np.repeat(np.repeat(images[:, None, :, None], 16, axis=1), 3, axis=3).astype(np.uint8)


def measure(images: Pictures, real: Pictures, known: Pictures) -> float:
    found = realism.spacing(fidelity.Features(thumbnails, known), images, real)
    assert found is not None
    return found


@pytest.mark.parametrize(("count", "of_real"), SIZES)
def test_images_of_one_kind_are_as_far_apart_whatever_their_number(count: int, of_real: int) -> None:
    assert measure(smooth(count, 1), smooth(of_real, 2), smooth(100, 3)) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    ("count", "times"), [(500, 2), (300, 4), (30, 2), (6, 10)], ids=["2x500", "4x300", "2x30", "10x6"]
)
@pytest.mark.parametrize("in_a_row", [True, False])
def test_repeated_images_are_near_zero(count: int, times: int, in_a_row: bool) -> None:
    """However many they are: among as many as there are real ones, few would meet their copies."""
    images = smooth(count, 1)
    repeated = np.repeat(images, times, axis=0) if in_a_row else np.concatenate([images] * times)
    assert measure(repeated, smooth(60, 2), smooth(100, 3)) < 0.05


def test_a_few_repeated_images_are_not_most_of_them() -> None:
    images = smooth(500, 1)
    assert measure(np.concatenate([images, images[:50]]), smooth(60, 2), smooth(100, 3)) > 0.8


def test_copies_with_a_little_noise_are_copies() -> None:
    images = smooth(500, 1)
    noise = np.random.default_rng(4).normal(0, 2, images.shape)
    copies = np.clip(images + noise, 0, 255).astype(np.uint8)
    assert measure(np.concatenate([images, copies]), smooth(60, 2), smooth(100, 3)) < 0.1


def test_real_images_that_are_all_alike_are_no_unit() -> None:
    space = fidelity.Features(thumbnails, smooth(100, 3))
    assert realism.spacing(space, smooth(60, 1), np.repeat(smooth(1, 2), 60, axis=0)) is None


def test_the_same_figure_each_time() -> None:
    one, two = (measure(smooth(300, 1), smooth(40, 2), smooth(100, 3)) for _ in range(2))
    assert one == two


Films = tuple[Pictures, Pictures]


@pytest.fixture(scope="module")
def films() -> Films:
    """Films with pneumonia: 667 in a random order, and 108 of other patients."""

    def read(part: str) -> Pictures:
        return colour(xray.read(DATA, part, ("bacterial pneumonia",), side=64).images)

    others = np.concatenate([read(part) for part in ("base", "judge", "site")])
    return others[np.random.default_rng(0).permutation(len(others))], read("test")


@needs_films
@pytest.mark.thorough
@pytest.mark.parametrize(("count", "of_real"), SIZES)
def test_other_real_xrays_are_about_one(films: Films, count: int, of_real: int) -> None:
    others, test = films
    assert measure(others[:count], test[:of_real], others[500:600]) == pytest.approx(1, abs=0.2)


@needs_films
@pytest.mark.thorough
def test_xrays_that_are_there_twice(films: Films) -> None:
    others, test = films
    assert measure(np.repeat(others[:500], 2, axis=0), test, others[500:600]) < 0.05


@needs_films
@pytest.mark.thorough
def test_no_two_real_xrays_pass_for_copies_and_encoded_ones_do(films: Films) -> None:
    others, test = films
    space = fidelity.Features(thumbnails, others[500:600])
    unit = realism.nearest_other(space(torch.from_numpy(test)), len(test))

    def encode(image: Pictures) -> Pictures:
        with io.BytesIO() as file:
            Image.fromarray(image).save(file, "JPEG", quality=50)
            return np.asarray(Image.open(file))

    points, copies = (space(torch.from_numpy(part)) for part in (others, np.stack([encode(one) for one in others])))
    apart = torch.cdist(points, points).fill_diagonal_(float("inf")) / unit
    assert float(apart.min()) > 0.5 > realism.COPY
    assert float((points - copies).norm(dim=1).median() / unit) == pytest.approx(0.03, abs=0.005)
    assert float((points - copies).norm(dim=1).max() / unit) < realism.COPY
