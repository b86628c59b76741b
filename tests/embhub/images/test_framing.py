"""Fitting an image into the base's square: what is kept, what is left out, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from embhub.images import pixels
from embhub.images.framing import fit_square, frame, is_too_small, lost_share
from embhub.options.preprocessing import FITS

MARKS = {"left apex": (0, 0), "right apex": (-8, 0), "left angle": (0, -8), "right angle": (-8, -8)}


def film(size: tuple[int, int] = (80, 128)) -> np.ndarray[Any, Any]:
    """A made-up portrait film on grey, with a bright mark of 8 x 8 pixels in each corner."""
    values = np.full((size[1], size[0]), 60, np.uint8)
    for left, top in MARKS.values():
        values[top : top + 8 or None, left : left + 8 or None] = 255
    return values


def corners(square: np.ndarray[Any, Any], area: tuple[int, int, int, int]) -> list[bool]:
    left, top, width, height = area
    places = [(top + 1, left + 1), (top + 1, left + width - 2), (top + height - 2, left + 1)]
    places.append((top + height - 2, left + width - 2))
    return [bool(square[place] > 200) for place in places]


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_portrait_film_loses_no_apex_and_no_angle(fit: Any) -> None:
    square = np.asarray(fit_square(Image.fromarray(film()), 64, fit))
    assert square.shape == (64, 64)
    assert corners(square, frame((80, 128), 64, fit).placed) == [True] * 4


def test_cropping_the_same_film_loses_all_four() -> None:
    square = np.asarray(fit_square(Image.fromarray(film()), 64, "crop"))
    assert corners(square, (0, 0, 64, 64)) == [False] * 4 and lost_share((80, 128)) == 0.375


@pytest.mark.parametrize("size", [(80, 128), (128, 80)])
def test_padding_is_black_on_both_sides_and_keeps_the_aspect_ratio(size: tuple[int, int]) -> None:
    bright = Image.fromarray(np.full((size[1], size[0], 3), 255, np.uint8))
    square = pixels.fit(bright, 64, "pad")
    assert square.shape == (3, 64, 64) and square.dtype == np.float32
    lit = (square[0] > 0).any(0 if size[0] < size[1] else 1)
    assert lit.sum() == 40 and lit[12:52].all(), "40 of 64 pixels, in the middle"
    assert square.min() == -1


def test_cropping_is_what_it_always_was() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (65, 90), dtype=np.uint8))
    assert fit_square(image, 32, "crop").tobytes() == ImageOps.fit(image, (32, 32), Image.Resampling.LANCZOS).tobytes()


@pytest.mark.parametrize("fit", FITS)
def test_a_square_image_is_the_same_in_every_way(fit: Any) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90), dtype=np.uint8))
    assert fit_square(image, 32, fit).tobytes() == fit_square(image, 32, "crop").tobytes()


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(16, 1024), st.sampled_from(FITS))
def test_every_area_lies_inside(width: int, height: int, side: int, fit: Any) -> None:
    found = frame((width, height), side, fit)
    for (left, top, across, down), (most_across, most_down) in (
        (found.seen, (width, height)),
        (found.placed, (side, side)),
    ):
        assert min(left, top) >= 0 and min(across, down) >= 1
        assert left + across <= most_across and top + down <= most_down
    assert fit == "crop" or found.seen == (0, 0, width, height)


@pytest.mark.parametrize("fit", FITS)
def test_what_is_drawn_comes_back_in_the_size_of_what_was_seen(fit: Any) -> None:
    image = Image.fromarray(film())
    found = frame(image.size, 64, fit)
    back = found.undo(found.apply(image))
    assert back.size == found.seen[2:]
    if fit == "pad":
        assert abs(np.asarray(back, float) - film()).mean() < 8


def test_an_extreme_image_needs_no_extreme_memory() -> None:
    """A square of its longer side would have 10^10 pixels."""
    assert fit_square(Image.new("L", (100_000, 10)), 64, "pad").size == (64, 64)


def test_which_images_are_too_small() -> None:
    assert is_too_small((20, 64), 64, "crop") and is_too_small((20, 64), 64, "stretch")
    assert not is_too_small((20, 64), 64, "pad") and is_too_small((20, 30), 64, "pad")
