"""A group of units in one step: how many of them join is chance, and the noise is moved by as many contributions. Pure.

The loss of a mixture of Gaussians N(i, sigma^2), where i of the group join, over N(0, sigma^2) dominates that of any
contributions of length 1 (Ganesh 2024, "Tight Group-Level DP Guarantees for DP-SGD with Sampling via Mixture of
Gaussians Mechanisms", arXiv 2401.10294). `embhub.privacy.loss_grid` puts it on its grid.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ITERATIONS = 200
_EXACT = 1e-14  # of a loss, beside what remained: it is itself computed in floats


def weigh(q: float, size: int) -> Floats:
    """The probability (size + 1,) that 0, 1, ... of a group join, each with probability `q` by a coin of its own."""
    return np.array([math.comb(size, i) * q**i * (1 - q) ** (size - i) for i in range(size + 1)])


def log_ratios(weights: Floats, sigma: float, z: Floats) -> tuple[Floats, Floats]:
    """The logarithm of mixture over plain Gaussian at each of `z`, and its slope there: convex, and rising in `z`."""
    shifts = np.arange(len(weights), dtype=np.float64)
    terms = np.log(weights)[:, None] + (2 * shifts[:, None] * z - shifts[:, None] ** 2) / (2 * sigma**2)
    top = terms.max(axis=0)
    shares = np.exp(terms - top)
    total = shares.sum(axis=0)
    return top + np.log(total), (shifts[:, None] * shares).sum(axis=0) / total / sigma**2


def places(weights: Floats, sigma: float, edges: Floats) -> tuple[Floats, float]:
    """Outcomes at which the log ratio has these values, ascending, and by how much it is off at most.

    -infinity where it is larger everywhere. By Newton's method from the right, where a convex function leads down to
    its root; each step is kept within what is known of the root.
    """
    found = np.full(len(edges), -np.inf)
    reached = edges > math.log(weights[0])
    wanted = edges[reached]
    # At least one joins: the ratio is at least the term of one alone, and of all together.
    shifts = np.arange(1, len(weights), dtype=np.float64)[:, None]
    high = ((wanted - np.log(weights[1:])[:, None]) * sigma**2 / shifts + shifts / 2).min(axis=0)
    z = high
    for _ in range(_ITERATIONS):
        ratios, slopes = log_ratios(weights, sigma, z)
        moved = np.minimum(z - (ratios - wanted) / np.maximum(slopes, 1e-300), high)
        if np.abs(moved - z).max(initial=0.0) <= 1e-15 * (1 + np.abs(z).max(initial=0.0)):
            break
        z = moved
    off = float(np.abs(log_ratios(weights, sigma, z)[0] - wanted).max(initial=0.0))
    found[reached] = z
    return np.maximum.accumulate(found), off + _EXACT
