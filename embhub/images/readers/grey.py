"""From measured values to eight bits of grey, and to square pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embhub.errors import UsageError

PERCENTILES = (1.0, 99.5)
"""Black and white of a picture that says nothing of its own."""

Grey = NDArray[np.uint8]
_NEARLY_SQUARE = 0.01
_LONGEST = 16_384
_AT_ONCE = 1_000_000  # pixels


def percentile_range(values: NDArray[Any], percentiles: tuple[float, float] = PERCENTILES) -> tuple[float, float]:
    """Values at the percentiles; lowest and highest where the two are one. What is not finite counts as 0."""
    return take_percentiles(np.array(values), percentiles)


def take_percentiles(values: NDArray[Any], percentiles: tuple[float, float]) -> tuple[float, float]:
    """The same, with no copy of the `values`: they are changed and put into another order."""
    finite = np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, percentiles, overwrite_input=True))
    return (low, high) if high > low else (float(finite.min()), float(finite.max()))


def scale(values: NDArray[Any], low: float, high: float) -> Grey:
    """0 at `low` and below, 255 at `high` and above, straight between. Some rows at a time: the numbers on the way take
    eight times the room of a picture."""
    spread = high - low or 1.0
    grey = np.empty(values.shape, np.uint8)
    rows = max(1, _AT_ONCE // max(1, values[:1].size))
    for start in range(0, len(values), rows):
        some = values[start : start + rows].astype(np.float64)
        finite = np.nan_to_num(some, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        grey[start : start + rows] = np.rint(np.clip((finite - low) / spread, 0, 1) * 255)
    return grey


def merge(greys: Sequence[Grey]) -> Image.Image:
    """One grey as it is, or two or three as red, green and blue; without a third, blue is black."""
    if len(greys) == 1:
        return Image.fromarray(greys[0]).convert("RGB")
    return Image.fromarray(np.dstack([*greys, np.zeros_like(greys[0])][:3]))


def square(image: Image.Image, across: float, down: float, where: str, *, most: int) -> Image.Image:
    """The image with square pixels: `across` and `down` are the width and height of one, in any unit.

    Raises:
        UsageError: it would have more than `most` pixels: two numbers of a header can ask for gigabytes.
    """
    if not (0 < across < float("inf") and 0 < down < float("inf")) or abs(across / down - 1) < _NEARLY_SQUARE:
        return image
    width, height = image.size
    if across > down:
        width = min(_LONGEST, max(1, round(width * across / down)))
    else:
        height = min(_LONGEST, max(1, round(height * down / across)))
    if width * height > most:
        raise UsageError(f"{where} has pixels that are too far from square", "resample it, or leave it out")
    return image.resize((width, height), Image.Resampling.BICUBIC)
