"""A cropped image is placed near wherever it was cropped from; no image costs more places than a bound."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from embhub.diffusion.generation.tracing.views import GROUPS, views

SIDE = 128


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("free", [1, 4, 13, 15])
def test_every_place_has_a_view_within_two_pixels(free: int) -> None:
    image = picture(SIDE - free, SIDE - free)
    shown = [view for group in list(views(image, SIDE))[1:] for view in group]
    corner = np.asarray(image, np.float32)[:8, :8].transpose(2, 0, 1) / 127.5 - 1
    places = [
        (left, top)
        for view, left, top in itertools.product(shown, range(free + 1), range(free + 1))
        if np.array_equal(view[:, top : top + 8, left : left + 8], corner)
    ]
    for left, top in itertools.product(range(free + 1), repeat=2):
        assert min(max(abs(left - x), abs(top - y)) for x, y in places) <= 2


@pytest.mark.parametrize("size", [(128, 128), (400, 300), (64, 64), (96, 128), (96, 96)])
def test_groups_and_views_are_bounded(size: tuple[int, int]) -> None:
    groups = list(views(picture(*size), SIDE))
    assert len(groups[0]) == 1 and len(groups) <= GROUPS and sum(map(len, groups)) <= 2 + 36
    assert all(view.shape == (3, SIDE, SIDE) for group in groups for view in group)


def test_large_bases_have_fewer_places() -> None:
    assert sum(map(len, views(picture(460, 460), 512))) <= 2 + 9
