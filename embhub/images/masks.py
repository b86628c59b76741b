"""Where in an image something is redrawn: a mask or a box, grown or shrunk, with a border that fades out."""

from __future__ import annotations

from itertools import product
from numbers import Integral
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from embhub.errors import UsageError
from embhub.images.framing import Area
from embhub.images.pixels import read_pixels
from embhub.options.redrawing import Box

Mask = NDArray[np.bool_]


def from_box(box: Box, size: tuple[int, int], where: str = "the image") -> Mask:
    """The mask (height, width) of a box in an image of `size` (width, height).

    Raises:
        UsageError: the box is empty or reaches out of the image.
    """
    x, y, width, height = box
    if not all(isinstance(number, Integral) for number in box):
        raise UsageError(f"the box {box} is not in whole pixels", "give x, y, width and height as whole numbers")
    if width < 1 or height < 1 or x < 0 or y < 0 or x + width > size[0] or y + height > size[1]:
        raise UsageError(
            f"the box {x},{y},{width},{height} is not inside {where}, which has {size[0]} x {size[1]} pixels",
            "choose x,y,width,height within it",
        )
    mask = np.zeros((size[1], size[0]), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def read_mask(path: Path, where: str) -> Mask:
    """The mask (height, width) that an image file draws: its brighter half marks what is redrawn.

    `where` names it in errors. Raises UsageError where it cannot be read as an image.
    """
    marked: Mask = np.asarray(read_pixels(path, where).convert("L")) > 127
    return marked


def check_mask(mask: Mask, size: tuple[int, int], where: str = "the mask") -> None:
    """Refuse a mask that does not fit an image of `size` (width, height), marks nothing, or leaves nothing.

    Raises:
        UsageError: each with what to do.
    """
    if mask.ndim != 2:
        raise UsageError(
            f"{where} has {mask.ndim} dimensions", "give one of height x width, such as an image of mode L"
        )
    height, width = mask.shape
    if (width, height) != size:
        raise UsageError(
            f"{where} has {width} x {height} pixels, its image {size[0]} x {size[1]}",
            "draw it in the size of the image, turned as the image is shown",
        )
    if not mask.any():
        raise UsageError(f"{where} marks nothing", "what is redrawn is white, what is kept black")
    if mask.all():
        raise UsageError(
            f"{where} covers the whole image: nothing would be left of it",
            "mark a part of it, or leave out the place: the whole image is redrawn then",
        )


def grow(mask: Mask, pixels: int) -> Mask:
    """The mask with a rim of so many pixels more, or less where the number is negative."""
    if pixels == 0:
        return mask
    distance = distance_transform_edt(~mask if pixels > 0 else mask)
    grown: Mask = distance <= pixels if pixels > 0 else distance > -pixels
    return grown


def fade(mask: Mask, border: float) -> NDArray[np.float64]:
    """How much of the new picture each pixel gets, (height, width): 1 in the mask, falling on half a cosine to 0 at
    `border` pixels from it, and exactly 0 beyond."""
    distance = distance_transform_edt(~mask)
    share = np.clip(1 - distance / (border + 1), 0, 1)
    faded: NDArray[np.float64] = np.where(distance > border, 0.0, 0.5 - 0.5 * np.cos(np.pi * share))
    return faded


def to_cells(mask: Mask, side: int, cell: int, placed: Area | None = None) -> Mask:
    """The mask of what lies in a square of `side` pixels at `placed` (all of it by default), in whole cells of `cell`.

    A denoiser works on such cells: one of which any pixel is marked is redrawn whole, so that no mark, however small,
    is lost on the way down.
    """
    cells = np.zeros((side // cell, side // cell), bool)
    left, top, width, height = placed or (0, 0, side, side)
    down_by, across_by = (height / mask.shape[0] / cell, top / cell), (width / mask.shape[1] / cell, left / cell)
    ends = [
        (np.floor(start + at * scale + 1e-9), np.ceil(start + (at + 1) * scale - 1e-9) - 1)
        for at, (scale, start) in zip(np.nonzero(mask), (down_by, across_by), strict=True)
    ]
    for down, across in product(*ends):  # a pixel is smaller than a cell: it reaches into two at most
        cells[down.astype(int), across.astype(int)] = True
    whole: Mask = np.kron(cells, np.ones((cell, cell), bool))
    return whole
