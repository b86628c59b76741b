"""The Gaussian mechanism on a Poisson sample: the one place where what patients contribute becomes public.

Each step: every unit joins by a coin of its own (`sample`); its vector is cut to a length (`bound`); the vectors are
summed, noise is laid on the sum, and it is divided by a public number (`release`). One unit more or less moves the sum
by at most `clip`, so what is released is (alpha, steps x RDP)-private as `embhub.accounting` computes it (Abadi et al.
2016, arXiv 1607.00133; Mironov, Talwar and Zhang 2019, arXiv 1908.10530). A batch with nobody in it is noise like
any other; and nothing is divided by the number that came, which is private (arXiv 2605.15648).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embhub.diffusion.dp import noise

Vectors = NDArray[np.float64]

SLACK = 1e-3
"""Vectors are cut this much shorter than `clip`. What a unit contributes must not depend on who else is in its batch;
by rounding it may, a little (measured: docs/explanation/private-training.md)."""


@dataclass(frozen=True)
class Mechanism:
    """`rate` is the chance of a unit to be in a step, `clip` the longest vector, `sigma` the noise on the sum in units
    of `clip`, `denominator` the public number of units that the sum is divided by."""

    rate: float
    clip: float
    sigma: float
    denominator: int

    def sample(self, units: int) -> NDArray[np.int64]:
        """Who takes part in a step: places below `units`, ascending; nobody, now and then."""
        return np.flatnonzero(noise.flip(units, self.rate))

    def bound(self, vectors: ArrayLike) -> Vectors:
        """The vectors of P units, (P, d), none longer than `clip`; one that is no number counts as zero."""
        exact = np.asarray(vectors, dtype=np.float64)
        exact = np.where(np.isfinite(exact).all(1, keepdims=True), exact, 0.0)
        lengths = np.linalg.norm(exact, axis=1, keepdims=True)
        bounded: Vectors = exact * ((1 - SLACK) * self.clip / np.maximum(lengths, self.clip))
        return bounded

    def release(self, total: Vectors) -> Vectors:
        """The noisy mean (d,) from the sum of a step's bounded vectors: what may be known."""
        return (total + self.sigma * self.clip * noise.draw_normal(total.size)) / self.denominator
