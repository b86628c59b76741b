"""Randomness that privacy rests on: every draw from the operating system's entropy, none from a seed.

A sampled batch and its noise must be unknown to whoever sees the result, and nothing that could repeat them is kept.
torch's and numpy's generators are no cryptographic ones, hence `os.urandom`.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

_SUMMED = 4
"""Normal draws behind each value. One alone has gaps between the floating-point numbers it can be, which tell the value
it was added to (Mironov 2012, doi:10.1145/2382196.2382264); to undo a sum of several, one would have to search all
their combinations (Holohan and Braghin 2021, arXiv 2107.10138): a heuristic, no proof. Opacus's secure mode does the
same. What carries more: only the rows after all steps leave, rounded to float16 by default."""

BYTES, COIN_BYTES = 8 * _SUMMED, 8
"""Bytes of entropy behind each normal value, and behind each coin that may fall either way."""


def draw_normal(count: int) -> NDArray[np.float64]:
    """Independent standard normal values, (count,)."""
    pairs = (count * _SUMMED + 1) // 2
    # Box and Muller 1958; the logarithm takes (0, 1], so never zero.
    radius = np.sqrt(-2 * np.log(_draw_uniform(pairs)))
    angle = 2 * np.pi * _draw_uniform(pairs)
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[: count * _SUMMED]
    summed: NDArray[np.float64] = normal.reshape(_SUMMED, count).sum(0)
    summed /= np.sqrt(_SUMMED)
    return summed


def flip(count: int, chance: float) -> NDArray[np.bool_]:
    """Independent coins, (count,), each true with `chance`: to within 2^-64, and never more often."""
    if chance >= 1:
        return np.ones(count, dtype=np.bool_)
    return _draw_words(count) < np.uint64(int(chance * 2.0**64))


def _draw_uniform(count: int) -> NDArray[np.float64]:
    """Multiples of 2^-53 in (0, 1], (count,)."""
    uniform: NDArray[np.float64] = ((_draw_words(count) >> np.uint64(11)) + np.uint64(1)).astype(np.float64)
    return uniform * 2.0**-53


def _draw_words(count: int) -> NDArray[np.uint64]:
    return np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
