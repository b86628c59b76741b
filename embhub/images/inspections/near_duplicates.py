"""Pictures that are nearly the same: re-compressed, resized, brightened or shifted copies of one image.

Two steps. A difference hash (Krawetz 2013, "Kind of like that", hackerfactor.com) of 128 bits, 64 along rows and 64
along columns, brings up candidates; a correlation of 32 x 32 grey thumbnails confirms them. On chest X-rays every copy
at JPEG quality 30, half size, 15 % brighter or shifted by 2 of 224 pixels differs in at most 10 bits and correlates by
0.987 or more, while in 262,305 pairs of two patients none correlates by 0.97. Copies that are cropped by 5 %, turned or
mirrored are not found. No library: the hash is four lines of numpy, and the usual package (ImageHash) would bring
wavelets for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embhub.images.inspections.hash_index import Neighbours
from embhub.progress import OnProgress, Progress

MOST_BITS = 12
"""Bits of 128 in which the hashes of two candidates may differ."""
LEAST_CORRELATION = 0.985
"""Correlation of the 32 x 32 thumbnails from which on two pictures are nearly the same."""

_SIDE = 32
_BLOCK = 256
_MOST_CANDIDATES = 256


@dataclass(frozen=True)
class Pair:
    """Picture `second` resembles `first`, which comes before it; both are positions in the order of `add`."""

    first: int
    second: int
    correlation: float


class Likenesses:
    """Remembers about a kilobyte a picture, so that the pictures themselves need not be kept."""

    def __init__(self) -> None:
        self._hashes: list[NDArray[np.int8]] = []
        self._thumbnails: list[NDArray[np.uint8]] = []

    def add(self, image: Image.Image) -> None:
        """Remember a picture (any size, any mode that Pillow turns grey)."""
        grey = image.convert("L")
        self._hashes.append(difference_hash(grey))
        small = grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        self._thumbnails.append(np.asarray(small, np.uint8).ravel())

    def pairs(self, groups: list[str], on_progress: OnProgress | None = None) -> list[Pair]:
        """For each picture the earlier one that it resembles most, if any; one of another group goes first.

        `groups` says whose each picture is. Pictures that differ are told apart by an index (`neighbours`), so time
        grows hardly faster than their number; where all are alike, with its square.
        """
        if not self._hashes:
            return []
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        whose = np.array([numbers[group] for group in groups])  # an array of words is as wide as the longest
        index = Neighbours(np.packbits(np.stack(self._hashes), axis=1), MOST_BITS)
        found = []
        for start in range(0, len(groups), _BLOCK):
            stop = min(start + _BLOCK, len(groups))
            for second, candidates in index.earlier(start, stop, most=_MOST_CANDIDATES):
                found += self._confirm(second, candidates, whose)
            if on_progress:
                on_progress(Progress("comparing pictures", stop, len(groups)))
        return found

    def _confirm(self, second: int, candidates: NDArray[np.intp], whose: NDArray[np.intp]) -> list[Pair]:
        others = _standardise(np.stack([self._thumbnails[int(place)] for place in candidates]))
        correlations = others @ _standardise(self._thumbnails[second][None])[0]
        close = correlations >= LEAST_CORRELATION
        if not close.any():
            return []
        foreign = close & (whose[candidates] != whose[second])
        best = int(np.argmax(np.where(foreign if foreign.any() else close, correlations, -1)))
        return [Pair(int(candidates[best]), second, float(correlations[best]))]


def difference_hash(grey: Image.Image) -> NDArray[np.int8]:
    """128 zeros and ones: whether it gets brighter from each of 9 x 9 cells to its right, and downwards."""
    cells = np.asarray(grey.resize((9, 9), Image.Resampling.LANCZOS), np.int16)
    right, down = cells[:-1, 1:] > cells[:-1, :-1], cells[1:, :-1] > cells[:-1, :-1]
    return np.concatenate([right.ravel(), down.ravel()]).astype(np.int8)


def _standardise(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rows of mean 0 and length 1; a picture of one flat tone becomes zeros, and resembles nothing."""
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, _SIDE), np.float32)
