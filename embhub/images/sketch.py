"""512 bits of a picture that stay nearly the same when it is resized, encoded again or re-lit: a difference hash.

It recognises a picture, not a person, and only one that was neither turned, mirrored nor cropped by much. It is written
down only for pictures that are public: a sketch of 16 x 16 places tells little, but it is not nothing.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

SAME = 48
"""The most bits in which two copies of one picture differ (`tests/bases/test_seen.py` measures both sides)."""
_PLACES = 16


def sketch(image: Image.Image) -> int:
    """For each of 16 x 16 places, whether it is brighter than the place to its right, and than the one below."""
    grey = ImageOps.grayscale(image)
    right, below = (
        np.asarray(grey.resize(size, Image.Resampling.BOX), dtype=np.int16)
        for size in ((_PLACES + 1, _PLACES), (_PLACES, _PLACES + 1))
    )
    bits = np.concatenate([(right[:, :-1] > right[:, 1:]).ravel(), (below[:-1] > below[1:]).ravel()])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def sketches(image: Image.Image) -> tuple[int, int]:
    """Of the whole picture, and of the square in its middle: a data set may have been stretched or cropped."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return sketch(image), sketch(image.crop((left, top, left + side, top + side)))


def distance(one: int, other: int) -> int:
    """The number of bits in which two sketches differ."""
    return (one ^ other).bit_count()
