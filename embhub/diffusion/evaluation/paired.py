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
from scipy import optimize, stats

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
    patients; `seeds` is Student's interval over the seeds (None for one seed), or over embeddings where that is wider.
    `interval` covers both the choice of test patients and that of the seeds: their half-widths, added in quadrature.
    `p_value` is DeLong's, two-sided, of no difference (of an AUC of one half where there is one arm); `p_both` belongs
    to `interval`. `freedom` is that of Student's t.
    """

    mean: float
    each_seed: tuple[float, ...]
    delong: Interval
    p_value: float
    patients: Interval
    seeds: Interval | None
    freedom: int = 0

    @property
    def p_both(self) -> float:
        """Two-sided, of a mean of zero: one less the level at which `interval` would end at zero."""
        if self.mean == 0:
            return 1.0
        patients = max(0.0, self.mean - self.patients.low if self.mean > 0 else self.patients.high - self.mean)
        seeds = 0.0 if self.seeds is None else self.mean - self.seeds.low

        def beyond(exponent: float) -> float:
            tail = math.exp(exponent) / 2
            wider = float(stats.norm.isf(tail)) / _Z * patients
            also = seeds and float(stats.t.isf(tail, self.freedom) / stats.t.isf(0.025, self.freedom)) * seeds
            return math.hypot(wider, also) - abs(self.mean)

        least = math.log(1e-12)
        return 1e-12 if beyond(least) <= 0 else math.exp(float(optimize.brentq(beyond, least, 0.0)))

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
    groups: Sequence[Sequence[int]] = (),
    rounds: int = 2000,
    seed: int = 0,
) -> Estimate:
    """The mean AUC of `scores` (one array (N,) a seed), or what it has over that of `over`, paired by image and seed.

    `groups` say which embedding each seed used, for each arm that has several: a random effect, so that the means of
    embeddings vary by it and by the seeds (as many for each). Of Student's intervals over these means and over the
    seeds the widest counts.

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
    widest = max((_student(one) for one in [each_seed, *_means(each_seed, groups)]), key=lambda found: found[0])
    half, freedom = widest
    return Estimate(
        mean,
        tuple(each_seed.tolist()),
        Interval(mean - _Z * error, mean + _Z * error),
        _two_sided(mean - nothing, error),
        Interval(float(low), float(high)),
        Interval(mean - half, mean + half) if freedom else None,
        freedom,
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values (1979, Scand. J. Stat. 6:65-70): at most 5 % chance of one false row among all."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = highest
    return tuple(adjusted)


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


def _means(each_seed: Floats, groups: Sequence[Sequence[int]]) -> list[Floats]:
    """The mean of each embedding's seeds, for each grouping that has several."""
    found = []
    for group in groups:
        if len(kinds := sorted(set(group))) > 1:
            found.append(np.array([each_seed[np.array(group) == kind].mean() for kind in kinds]))
    return found


def _student(values: Floats) -> tuple[float, int]:
    """Half of Student's 95 % interval of the mean, and its degrees of freedom."""
    if len(values) < 2:
        return 0.0, 0
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(half), len(values) - 1
