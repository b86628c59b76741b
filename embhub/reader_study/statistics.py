"""Figures of a study with several readers and many cases, and their intervals. Pure.

Every reader rates every case (a fully crossed design). Readers and cases are both samples of larger populations, so
both are drawn anew in each bootstrap replicate (Efron & Tibshirani 1993, chapter 8; for reader studies: Gallas 2006,
doi:10.1016/j.acra.2005.11.030, names the components of variance). With one reader the interval covers cases alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

REPLICATES = 2_000
LEVEL = 0.95
Scores: TypeAlias = NDArray[np.float64]
"""(readers, cases)"""


@dataclass(frozen=True)
class Estimate:
    """A figure from 0 to 1 with its interval of 95 %."""

    value: float
    low: float
    high: float


def mean_auc(real: Scores, generated: Scores, *, seed: int = 0) -> Estimate:
    """The readers' mean area under the ROC curve: how often a generated image is rated above a real one.

    Ties count one half, so 0.5 means that readers cannot separate them.

    Args:
        real: ratings of the real images, (readers, real images).
        generated: ratings of the generated images, (readers, generated images).
        seed: of the bootstrap.
    """
    wins = (np.sign(generated[:, :, None] - real[:, None, :]) + 1) / 2  # (readers, generated, real)
    generator, found = np.random.default_rng(seed), np.empty(REPLICATES)
    for turn in range(REPLICATES):
        of_readers = _weights(generator, wins.shape[0])
        of_generated, of_real = _weights(generator, wins.shape[1]), _weights(generator, wins.shape[2])
        found[turn] = of_readers @ (wins @ of_real @ of_generated)
    return _estimate(float(wins.mean()), found, units=min(wins.shape[1:]))


def mean_share(answers: Scores, *, seed: int = 0) -> Estimate:
    """The share of answers that are 1, of all readers.

    Args:
        answers: zeros and ones, (readers, cases).
        seed: of the bootstrap.
    """
    generator, found = np.random.default_rng(seed), np.empty(REPLICATES)
    for turn in range(REPLICATES):
        found[turn] = _weights(generator, answers.shape[0]) @ answers @ _weights(generator, answers.shape[1])
    return _estimate(float(answers.mean()), found, units=answers.shape[1])


def _weights(generator: np.random.Generator, number: int) -> Scores:
    """How often each of `number` units is drawn with replacement, as a share."""
    return np.bincount(generator.integers(0, number, number), minlength=number) / number


def _estimate(value: float, found: Scores, *, units: int) -> Estimate:
    """Percentiles, and near 0 and 1, where a bootstrap sees too little, the exact binomial limit of `units` too.

    Where all of n independent units agree, the limit on the other side is (1 - LEVEL) / 2 to the power 1 / n (Clopper
    & Pearson 1934). For an AUC, n pairs of one generated and one real image that share no image are independent.
    """
    low, high = (float(end) for end in np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    exact = ((1 - LEVEL) / 2) ** (1 / units)
    if value >= 1.0:
        low = min(low, exact)
    if value <= 0.0:
        high = max(high, 1 - exact)
    return Estimate(value, max(0.0, low), min(1.0, high))
