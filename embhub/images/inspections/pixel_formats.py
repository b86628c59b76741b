"""How an image file stores its pixels: format, mode, bits a channel, and the range of deep ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from embhub.images.pixels import DEEP
from embhub.images.readers.encoding import Encoding

_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I": 32, "F": 32}
_PNG_DEPTH = 24  # offset of the bit depth in IHDR, which is the first chunk of every PNG
_TIFF_DEPTH = 258


def describe(path: Path, image: Image.Image) -> Encoding:
    """The encoding of an opened and decoded `image`. Never raises."""
    name, bits = image.format or "", _bits(path, image)
    if image.mode not in DEEP:
        return Encoding(name, image.mode, bits)
    values = np.asarray(image, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Encoding(name, image.mode, bits)
    return Encoding(name, image.mode, bits, float(finite.min()), float(finite.max()))


def _bits(path: Path, image: Image.Image) -> int:
    """Of the file where it says so: Pillow opens 16-bit colour as 8-bit, and PNGs of 16 bits in modes of 32."""
    try:
        if image.format == "PNG":
            with path.open("rb") as file:
                return file.read(_PNG_DEPTH + 1)[_PNG_DEPTH]
        if image.format == "TIFF":
            return int(max(image.tag_v2[_TIFF_DEPTH]))  # type: ignore[attr-defined]  # TIFF files alone have tags
    except (OSError, LookupError, TypeError, ValueError):
        pass
    return _BITS.get(image.mode, 8)
