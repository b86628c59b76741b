"""The Gaussian mechanism on a Poisson sample: the one place where what patients contribute becomes public.

Each step: every unit joins by a coin of its own (`sample`); its vector is cut to a length (`bound`); the vectors are
summed, noise is laid on the sum, and it is divided by a public number (`release`). One unit more or less moves the sum
by at most `max_grad_norm`, so what is released is (alpha, steps x RDP)-private as `embhub.privacy` computes it
(Abadi et al. 2016, arXiv 1607.00133; Mironov, Talwar and Zhang 2019, arXiv 1908.10530). A batch with nobody in it is
noise like any other; and nothing is divided by the number that came, which is private (arXiv 2605.15648).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embhub.diffusion.dp import noise

Vectors = NDArray[np.float64]

SLACK = 1e-3
"""Vectors are cut this much shorter than `max_grad_norm`. What a unit contributes must not depend on who else is in its
batch; by rounding it may, a little (measured: docs/explanation/private-training.md)."""


@dataclass(frozen=True)
class Mechanism:
    """The parameters of the mechanism, in the words of DP-SGD libraries.

    Attributes:
        sample_rate: chance of a unit to be in a step (Poisson sampling).
        max_grad_norm: clipping norm of a unit's vector.
        noise_multiplier: standard deviation of the noise on the sum, in units of `max_grad_norm`.
        denominator: public number of units that the sum is divided by, the expected batch size.
    """

    sample_rate: float
    max_grad_norm: float
    noise_multiplier: float
    denominator: int

    def sample(self, units: int) -> NDArray[np.int64]:
        """Who takes part in a step: places below `units`, ascending; nobody, now and then."""
        return np.flatnonzero(noise.flip(units, self.sample_rate))

    def bound(self, vectors: ArrayLike) -> Vectors:
        """The vectors of P units, (P, d), none longer than `max_grad_norm`; one that is no number counts as zero."""
        exact = np.asarray(vectors, dtype=np.float64)
        exact = np.where(np.isfinite(exact).all(1, keepdims=True), exact, 0.0)
        lengths = np.linalg.norm(exact, axis=1, keepdims=True)
        bounded: Vectors = exact * ((1 - SLACK) * self.max_grad_norm / np.maximum(lengths, self.max_grad_norm))
        return bounded

    def release(self, total: Vectors) -> Vectors:
        """The noisy mean (d,) from the sum of a step's bounded vectors: what may be known."""
        return (total + self.noise_multiplier * self.max_grad_norm * noise.draw_normal(total.size)) / self.denominator
