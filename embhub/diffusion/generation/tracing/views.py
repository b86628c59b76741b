"""An image as the base may have generated it, before somebody cropped it: arrays (3, side, side) in [-1, 1]."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

GROUPS = 3
"""The most groups of an image."""
_SMALLEST = 0.75
_APART, _MOST, _MOST_OF_LARGE, _LARGE = 3, 6, 3, 256
"""A mark is still found two pixels off, so that places need not be closer than three. As many along a side at most, and
fewer where the base's images are large: each place costs ten evaluations of its denoiser."""
"""Of the base's side: a smaller image was resized, a larger one may have been cropped."""


def views(image: Image.Image, side: int) -> Iterator[list[npt.NDArray[np.float32]]]:
    """Groups of views, the likeliest first; each group is one computation."""
    yield [_array(image.resize((side, side), Image.Resampling.BICUBIC) if image.size != (side, side) else image)]
    width, height = image.size
    if image.size == (side, side) or not all(_SMALLEST * side <= length <= side for length in image.size):
        return
    free = (side - width, side - height)
    middle = (free[0] // 2, free[1] // 2)
    yield [_placed(image, side, middle)]
    grid = [(x, y) for x in _spread(free[0], side) for y in _spread(free[1], side)]
    yield [_placed(image, side, place) for place in grid if place != middle]


def _spread(free: int, side: int) -> list[int]:
    """Places along a side, from the first to the last of them, evenly."""
    most = _MOST_OF_LARGE if side > _LARGE else _MOST
    return sorted({round(place) for place in np.linspace(0, free, min(most, 1 + -(-free // _APART)))})


def _placed(image: Image.Image, side: int, place: tuple[int, int]) -> npt.NDArray[np.float32]:
    left, top = place
    around = ((top, side - top - image.height), (left, side - left - image.width), (0, 0))
    return _scaled(np.pad(np.asarray(image), around, mode="edge"))


def _array(image: Image.Image) -> npt.NDArray[np.float32]:
    return _scaled(np.asarray(image))


def _scaled(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(values.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1)
