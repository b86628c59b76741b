"""The normal distribution, for accounting: as exact as `scipy.special`, whose import takes longer than all else.

Numbers one by one by `math.erfc`, arrays by the rational approximations of W. J. Cody (1969), Mathematics of
Computation 23:631-637. A test holds every function to scipy's, over the range that accounting asks for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ROOT = math.sqrt(2)
_FAR = -12.0  # below, the asymptotic series is exact to the last digit, and erfc loses some
_TERMS = 20
_LOG_SQRT_TAU = 0.5 * math.log(2 * math.pi)
# Cody's coefficients, the numerator's and the denominator's, in the order in which Horner's rule takes them.
_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)  # fmt: skip
_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip
_OUTER = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3),
)  # fmt: skip


def cdf(value: float) -> float:
    """Probability that a standard normal number is at most `value`."""
    return 0.5 * math.erfc(-value / _ROOT)


def log_cdf(value: float) -> float:
    """Its logarithm, which does not underflow (Abramowitz and Stegun 1964, 26.2.12, far below zero)."""
    if value > 0:
        return math.log1p(-0.5 * math.erfc(value / _ROOT))
    if value > _FAR:
        return math.log(0.5 * math.erfc(-value / _ROOT))
    square = value * value
    term, total = 1.0, 0.0
    for number in range(1, _TERMS):
        term *= -(2 * number - 1) / square
        total += term
    return -square / 2 - math.log(-value) - _LOG_SQRT_TAU + math.log1p(total)


def quantile(share: float) -> float:
    """The value that a standard normal number is below with probability `share`, from 0 to 1."""
    from statistics import NormalDist

    if share <= 0.0 or share >= 1.0:
        return -math.inf if share <= 0.0 else math.inf
    return NormalDist().inv_cdf(share)


def cdf_of(values: Floats) -> Floats:
    """`cdf` of each number of an array."""
    import numpy as np

    tails = 0.5 * _scaled(np.abs(values) / _ROOT) * np.exp(-values * values / 2)
    return np.where(values <= 0, tails, 1 - tails)


def log_cdf_of(values: Floats) -> Floats:
    """`log_cdf` of each number of an array."""
    import numpy as np

    halves = 0.5 * _scaled(np.abs(values) / _ROOT)
    squares = values * values / 2
    return np.where(values <= 0, np.log(halves) - squares, np.log1p(-halves * np.exp(-squares)))


def _scaled(values: Floats) -> Floats:
    """exp(x^2) erfc(x) of numbers x from 0 up."""
    import numpy as np

    near, middle, outer = np.minimum(values, 0.46875), np.clip(values, 0.46875, 4.0), np.maximum(values, 4.0)
    low = (1 - near * _ratio(_NEAR, near * near)) * np.exp(near * near)
    inverse = 1 / (outer * outer)
    high = (1 / math.sqrt(math.pi) - inverse * _ratio(_OUTER, inverse)) / outer
    return np.where(values <= 0.46875, low, np.where(values <= 4.0, _ratio(_MIDDLE, middle), high))


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], at: Floats) -> Floats:
    above, below = (0.0 * at, 0.0 * at)
    for numerator, denominator in zip(*coefficients, strict=True):
        above, below = above * at + numerator, below * at + denominator
    return above / below
