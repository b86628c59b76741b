"""Text burned into pixels, such as a name or a date: no header shows it, and removing headers leaves it.

RapidOCR (Apache-2.0) finds and reads it, with the weights of PaddleOCR's small models that its package holds: nothing
is downloaded. What was read is dropped at once, and only whether an image has text is said.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

_CERTAIN = 0.6
_LETTERS = 3
"""Fewer letters and digits count as none: the L and R of a film, and bright lines that are read as one letter."""
_SMALL, _LARGE, _STRIP = 480, 1920, 64
"""Smaller images are enlarged to 480 pixels a side. Of 120 words in images of 224 and 256 pixels 110 were found, and
113 with 736 pixels in more than twice the time. 320 found fewer. No side is longer than 1,920, and a strip under 64
pixels then is not looked at: enlarged like others, one pixel by 500 would take all memory."""
_SETTINGS = {
    "Global.log_level": "critical",
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "Det.limit_type": "max",  # sizes are ours
    "Det.limit_side_len": _LARGE,
}


class TextFinder:
    """Says of an image whether text is burned into it."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __call__(self, image: Image.Image) -> bool | None:
        """Whether a line with three letters or digits or more was read with some certainty; None: it was not looked at.

        That is so for narrow strips, and where the engine fails, whatever its error: images are others' bytes.
        """
        fitted = _fit(image.convert("RGB"))
        if min(fitted.size) < _STRIP:
            return None
        try:
            found = self._engine(np.asarray(fitted)[:, :, ::-1])
        except Exception:  # noqa: BLE001  # of several libraries, and its text may hold what was read
            return None
        return any(_is_text(words, sure) for words, sure in zip(*_read(found), strict=True))


@cache
def find_engine() -> TextFinder | None:
    """A finder of text; None where the extra `ocr` is not installed or a library that it needs is missing."""
    try:
        importlib.import_module("onnxruntime")  # the engine of the weights that it brings along
        return TextFinder(importlib.import_module("rapidocr").RapidOCR(params=_SETTINGS))
    except ImportError:
        return None


def _fit(image: Image.Image) -> Image.Image:
    """The image at a size at which text is looked for."""
    factor = min(max(1.0, _SMALL / min(image.size)), _LARGE / max(image.size))
    width, height = (max(1, round(factor * side)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _read(found: Any) -> tuple[Sequence[str], Sequence[float]]:
    return found.txts or (), found.scores or ()


def _is_text(words: str, sure: float) -> bool:
    return sure >= _CERTAIN and sum(letter.isalnum() for letter in words) >= _LETTERS
