"""An AUC, and the difference of two on the same test images, with intervals for what chance decides.

Several classifiers stand behind each figure, one a seed: it is the mean of their AUCs. That mean is itself a
Mann-Whitney statistic, of the seeds' average kernel, so DeLong's variance holds for it as for a single classifier.
Pure: numpy and scipy alone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Scores = Sequence[Floats]
_Z = float(stats.norm.ppf(0.975))
_ROWS = 256  # of the kernel at a time: a test set of 20,000 images needs no gigabytes


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A mean over the seeds: an AUC, or a difference of two.

    `each_seed` has a figure a seed. `delong` takes test images for independent; `patients` resamples whole test
    patients; `seeds` is Student's interval over the seeds (None for one seed). `interval` covers both the choice of
    test patients and that of the seeds: their half-widths, added in quadrature. `p_value` is DeLong's, two-sided, of no
    difference (of an AUC of one half where there is one arm).
    """

    mean: float
    each_seed: tuple[float, ...]
    delong: Interval
    p_value: float
    patients: Interval
    seeds: Interval | None

    @property
    def interval(self) -> Interval:
        """Low and high of both sources together."""
        if self.seeds is None:
            return self.patients
        half = self.mean - self.seeds.low
        low = self.mean - math.hypot(half, max(0.0, self.mean - self.patients.low))
        high = self.mean + math.hypot(half, max(0.0, self.patients.high - self.mean))
        return Interval(low, high)


def estimate(
    truth: NDArray[np.bool_],
    patients: Sequence[Hashable],
    scores: Scores,
    over: Scores | None = None,
    *,
    rounds: int = 2000,
    seed: int = 0,
) -> Estimate:
    """The mean AUC of `scores` (one array (N,) a seed), or what it has over that of `over`, paired by image and seed.

    `truth` (N,) is true for positives, `patients` says whose each image is. DeLong, DeLong and Clarke-Pearson 1988,
    Biometrics 44:837-845; the bootstrap draws patients with replacement `rounds` times.

    Raises:
        ValueError: fewer than two images of a class, scores of other lengths, or not as many seeds in both.
    """
    positives, negatives = np.flatnonzero(truth), np.flatnonzero(~truth)
    if min(len(positives), len(negatives)) < 2:
        raise ValueError("an interval needs two images of each class")
    arms = [scores] if over is None else [scores, over]
    if any(len(one) != len(scores) or not one for one in arms) or any(len(s) != len(truth) for a in arms for s in a):
        raise ValueError("each seed of each arm needs one score an image")
    each_seed = _areas(truth, scores) - (0 if over is None else _areas(truth, over))
    codes = {patient: place for place, patient in enumerate(dict.fromkeys(patients))}
    of_image = np.array([codes[patient] for patient in patients])
    weights = _draws(len(codes), rounds, seed)
    in_positives, in_negatives = weights[:, of_image[positives]], weights[:, of_image[negatives]]
    rows, columns = np.empty(len(positives)), np.zeros(len(negatives))
    resampled = np.zeros((rounds, len(negatives)))
    for part, block in _kernel(scores, over, positives, negatives):
        rows[part] = block.mean(1)
        columns += block.sum(0)
        resampled += in_positives[:, part] @ block
    columns /= len(positives)
    mean = float(rows.mean())
    error = math.sqrt(rows.var(ddof=1) / len(positives) + columns.var(ddof=1) / len(negatives))
    total = in_positives.sum(1) * in_negatives.sum(1)
    drawn = (resampled * in_negatives).sum(1)[total > 0] / total[total > 0]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (-1.0, 1.0)
    nothing = 0.5 if over is None else 0.0
    return Estimate(
        mean,
        tuple(each_seed.tolist()),
        Interval(mean - _Z * error, mean + _Z * error),
        _two_sided(mean - nothing, error),
        Interval(float(low), float(high)),
        _student(each_seed),
    )


def _kernel(
    scores: Scores, over: Scores | None, positives: NDArray[np.intp], negatives: NDArray[np.intp]
) -> Iterator[tuple[slice, Floats]]:
    """Rows of the kernel, (rows, negatives): 1 where the positive scores higher, ties one half, mean over the seeds."""
    for start in range(0, len(positives), _ROWS):
        part = slice(start, min(start + _ROWS, len(positives)))
        chosen = positives[part]
        block = np.zeros((len(chosen), len(negatives)))
        for sign, arm in ((1.0, scores), (-1.0, over or ())):
            for one in arm:
                above, beside = one[chosen, None], one[None, negatives]
                block += sign * ((above > beside) + 0.5 * (above == beside))
        yield part, block / len(scores)


def _areas(truth: NDArray[np.bool_], scores: Scores) -> Floats:
    count = int(truth.sum())
    ranks = np.stack([stats.rankdata(one)[truth].sum() for one in scores])
    return np.asarray((ranks - count * (count + 1) / 2) / (count * (len(truth) - count)), dtype=np.float64)


def _draws(patients: int, rounds: int, seed: int) -> Floats:
    """How often each patient is drawn, (rounds, patients)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.multinomial(patients, np.full(patients, 1 / patients), size=rounds).astype(np.float64)


def _two_sided(difference: float, error: float) -> float:
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * stats.norm.sf(abs(difference) / error))


def _student(each_seed: Floats) -> Interval | None:
    if len(each_seed) < 2:
        return None
    mean = float(each_seed.mean())
    half = float(stats.t.ppf(0.975, len(each_seed) - 1) * each_seed.std(ddof=1) / math.sqrt(len(each_seed)))
    return Interval(mean - half, mean + half)
