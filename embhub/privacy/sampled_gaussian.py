"""Rényi differential privacy (RDP) of the Gaussian mechanism on a Poisson sample, for whole and fractional orders.

Mironov, Talwar and Zhang, "Rényi Differential Privacy of the Sampled Gaussian Mechanism" (arXiv 1908.10530), section
3.3. A neighbour has one unit more or less; the function's L2 sensitivity is 1 and the noise has standard deviation
`sigma`. A one-shot Gaussian without sampling is `q = 1`, one step.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from embhub.privacy.normal import log_cdf_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TAIL = -32.0  # terms below exp(-32), against a sum of at least 1, are left out; `slack` covers them
_CHUNK = 256
_MOST_TERMS = 400_000
SLACK = 4e-13  # error of log A that floating point and the left-out terms may cause, a step


@lru_cache(maxsize=65_536)
def sampled_gaussian_rdp(*, q: float, sigma: float, order: float) -> float:
    """RDP of one step at one order; infinite where the order gives no bound that this arithmetic can vouch for.

    Args:
        q: probability with which each unit is in the step's sample, 0 to 1.
        sigma: standard deviation of the noise in units of the sensitivity (the noise multiplier).
        order: Rényi order, above 1.

    Raises:
        ValueError: an argument out of its range.
    """
    if not (0.0 <= q <= 1.0 and math.isfinite(sigma) and sigma >= 0.0 and order > 1.0):
        raise ValueError(f"no sampled Gaussian has q {q}, sigma {sigma}, order {order}")
    if q == 0.0:
        return 0.0
    if sigma == 0.0 or math.isinf(order):
        return math.inf
    if q == 1.0:
        return order / (2 * sigma**2)
    log_moment = (
        _whole_log_moment(q, sigma, int(order)) if float(order).is_integer() else _broken_log_moment(q, sigma, order)
    )
    return max(0.0, log_moment) / (order - 1)


def rounding_slack(order: float, *, steps: int) -> float:
    """How much `steps` steps at this order may exceed what `sampled_gaussian_rdp` gives, through rounding alone."""
    return steps * SLACK / (order - 1)


def _whole_log_moment(q: float, sigma: float, order: int) -> float:
    """log A for a whole order: a binomial sum of positive terms (there equation 30 and below)."""
    log_q, log_rest = math.log(q), math.log1p(-q)
    logs = [
        choices + k * log_q + (order - k) * log_rest + (k * k - k) / (2 * sigma**2)
        for k, choices in enumerate(_log_binomials(order))
    ]
    top = max(logs)
    return top + math.log(math.fsum(math.exp(value - top) for value in logs))


@lru_cache(maxsize=1024)
def _log_binomials(order: int) -> tuple[float, ...]:
    return tuple(math.log(math.comb(order, k)) for k in range(order + 1))


def _broken_log_moment(q: float, sigma: float, order: float) -> float:
    """log A for a fractional order: two alternating series that meet at z0, where both densities are equal."""
    import numpy as np  # here, not above: it takes longer to import than a header to read

    z0 = sigma**2 * (math.log1p(-q) - math.log(q)) + 0.5
    log_q, log_rest = math.log(q), math.log1p(-q)
    logs: list[NDArray[Any]] = []
    signs: list[NDArray[Any]] = []
    log_coefficient, sign = 0.0, 1.0  # of the binomial (order over i), carried from chunk to chunk
    for start in range(0, _MOST_TERMS, _CHUNK):
        i = np.arange(start, start + _CHUNK, dtype=np.float64)
        ratios = (order - i) / (i + 1)  # coefficient i+1 over coefficient i
        steps_of_log = np.concatenate(([0.0], np.log(np.abs(ratios))))
        steps_of_sign = np.concatenate(([1.0], np.sign(ratios)))
        coefficients = log_coefficient + np.cumsum(steps_of_log)
        chunk_signs = sign * np.cumprod(steps_of_sign)
        log_coefficient, sign = float(coefficients[-1]), float(chunk_signs[-1])
        j = order - i
        below = (
            coefficients[:-1] + i * log_q + j * log_rest + (i * i - i) / (2 * sigma**2) + log_cdf_of((z0 - i) / sigma)
        )
        above = (
            coefficients[:-1] + j * log_q + i * log_rest + (j * j - j) / (2 * sigma**2) + log_cdf_of((j - z0) / sigma)
        )
        logs += [below, above]
        signs += [chunk_signs[:-1], chunk_signs[:-1]]
        if start > order and max(below[-1], above[-1]) < _TAIL:
            return _signed_log_sum(np.concatenate(logs), np.concatenate(signs))
    return math.inf  # the series has not settled: no bound from this order


def _signed_log_sum(logs: NDArray[Any], signs: NDArray[Any]) -> float:
    """log of a sum of signed exponentials; infinite where cancellation leaves nothing to trust."""
    import numpy as np

    top = float(logs.max())
    if not math.isfinite(top):
        return math.inf
    terms = np.exp(logs - top)
    total = math.fsum((terms * signs).tolist())
    if total <= 1e-4 * float(terms.max()):  # more than four digits lost: this order is left out
        return math.inf
    return top + math.log(total)
