"""Discrete Gaussian noise from the operating system's entropy: no floating point decides an outcome.

Canonne, Kamath and Steinke 2020, "The Discrete Gaussian for Differential Privacy" (arXiv 2004.00010), algorithms 2 and
3, many numbers at a time. A coin of chance exp(-x) compares 64 random bits with the chance in double precision. Where
they are nearer than `MARGIN`, far more than it can be wrong, 256 further bits and 80 digits decide. So each coin has
its chance to within 1e-79, which is what "exactly" means here.
"""

from __future__ import annotations

import decimal
import math
import os
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Fraction = tuple[int, int]

LARGEST_VARIANCE: Final = 1 << 50
MARGIN = 2.0**-40
"""Double precision errs by less than 2^-48 in every chance that is computed here."""
_MORE_BITS = 256
_DIGITS = decimal.Context(prec=80)
_SPARE = 1.7  # candidates for each number that is asked for; most are kept


def draw(count: int, variance: int) -> Whole:
    """Independent whole numbers (count,), each k with a chance proportional to exp(-k^2 / (2 `variance`)).

    Raises:
        ValueError: the variance is no whole number from 1 to LARGEST_VARIANCE.
    """
    if not (isinstance(variance, int) and 1 <= variance <= LARGEST_VARIANCE):
        raise ValueError(f"no noise on whole numbers has a variance of {variance}")
    scale = 1 << max(0, round(math.log2(variance) / 2))  # a power of two: fractions of it are exact
    found: list[Whole] = []
    missing = count
    while missing > 0:
        candidates = _laplace(int(_SPARE * missing) + 16, scale)
        kept = candidates[_keep(np.abs(candidates), variance, scale)]
        found.append(kept[:missing])
        missing -= len(found[-1])
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _keep(sizes: Whole, variance: int, scale: int) -> NDArray[np.bool_]:
    """Coins that turn discrete Laplace numbers of these sizes into Gaussian ones (there algorithm 3)."""
    exponents = (sizes - variance / scale) ** 2 / (2 * variance)
    return flip(exponents, lambda place: ((int(sizes[place]) * scale - variance) ** 2, 2 * variance * scale**2))


def _laplace(count: int, scale: int) -> Whole:
    """About `count` whole numbers, each k with a chance proportional to exp(-|k| / scale) (there algorithm 2)."""
    low = (_words(2 * count) & np.uint64(scale - 1)).astype(np.int64)
    low = low[flip(low / scale, lambda place: (int(low[place]), scale))]
    high = np.zeros(len(low), dtype=np.int64)
    going = np.arange(len(low))
    while len(going):
        going = going[flip(np.ones(len(going)), lambda _: (1, 1))]
        high[going] += 1
    sizes = low + scale * high
    negative = (_words(len(sizes)) & np.uint64(1)).astype(bool)
    signed = np.where(negative, -sizes, sizes)
    return np.asarray(signed[~(negative & (sizes == 0))])


def flip(exponents: NDArray[np.float64], exact: Callable[[int], Fraction]) -> NDArray[np.bool_]:
    """Coins (n,), each true with a chance of exp(-x), to within 1e-79.

    Args:
        exponents: x (n,), at least 0, in double precision.
        exact: numerator and denominator of x at a place; asked for where double precision does not decide.
    """
    words = _words(len(exponents))
    places = words * 2.0**-64
    chances = np.exp(-exponents)
    heads = places < chances
    for place in np.flatnonzero(np.abs(places - chances) <= MARGIN):
        heads[place] = _decide(int(words[place]), *exact(int(place)))
    return np.asarray(heads)


def _decide(word: int, numerator: int, denominator: int) -> bool:
    bits = word << _MORE_BITS | int.from_bytes(os.urandom(_MORE_BITS // 8))
    chance = _DIGITS.exp(-_DIGITS.divide(decimal.Decimal(numerator), decimal.Decimal(denominator)))
    # A product of exact whole numbers, but for the 80 digits of the chance.
    return decimal.Decimal(bits) < _DIGITS.multiply(chance, decimal.Decimal(1 << (64 + _MORE_BITS)))


def _words(count: int) -> NDArray[np.uint64]:
    return np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
