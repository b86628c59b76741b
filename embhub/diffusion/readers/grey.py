"""From measured values to eight bits of grey, and to square pixels."""

from __future__ import annotations

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


def percentile_range(values: NDArray[Any], percentiles: tuple[float, float] = PERCENTILES) -> tuple[float, float]:
    """Values at the percentiles; lowest and highest where the two are one. What is not finite counts as 0."""
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, percentiles))
    return (low, high) if high > low else (float(finite.min()), float(finite.max()))


def scale(values: NDArray[Any], low: float, high: float) -> Grey:
    """0 at `low` and below, 255 at `high` and above, straight between."""
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    spread = high - low or 1.0
    return np.asarray(np.rint(np.clip((finite - low) / spread, 0, 1) * 255), np.uint8)


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
