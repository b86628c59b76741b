"""What generated images are worth in patients: where the learning curve of real images meets them.

A classifier of generated images alone has some AUC. So has one of few real patients, and the more there are the higher.
The number of real patients a class with the same AUC is what the generated images are worth. It is read off the curve
between the measured points, by the logarithm of the number. The interval draws test patients anew, and Student's t
stands for other embeddings and seeds, all at once. Pure: numpy and scipy alone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Floats = NDArray[np.float64]
Scores = Sequence[Floats]
_CHANCE = 0.5


@dataclass(frozen=True)
class Worth:
    """Real patients a class, with a 95 % interval; `most` is the largest number that was measured, where all end."""

    value: float
    low: float
    high: float
    most: float


def in_patients(
    truth: NDArray[np.bool_],
    patients: Sequence[Hashable],
    curve: Mapping[float, Scores],
    generated: Scores,
    *,
    groups: Sequence[int] = (),
    rounds: int = 1000,
    seed: int = 0,
) -> Worth:
    """What `generated` images alone are worth.

    Args:
        truth: (N,), true for test images with the finding.
        patients: Whose each test image is.
        curve: Scores (N,) of the test images by classifiers of real images alone, one a seed, by patients a class.
        generated: The same of classifiers of generated images alone.
        groups: Which embedding each of them used; empty for one.
        rounds: How often the interval's bootstrap draws.
        seed: Of these draws.

    Returns:
        0 for images that teach nothing, at most the largest number on the curve.

    Raises:
        ValueError: no curve, or a class without test images.
    """
    counts = sorted(curve)
    if not counts or counts[0] <= 0 or not truth.any() or truth.all():
        raise ValueError("worth needs a learning curve, and test images of both classes")
    rng = np.random.Generator(np.random.PCG64(seed))
    codes = {patient: place for place, patient in enumerate(dict.fromkeys(patients))}
    of_image = np.array([codes[patient] for patient in patients])
    drawn = rng.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), size=rounds)
    weights = np.vstack([np.ones(len(codes)), drawn])[:, of_image]  # the first round is the sample itself
    arms = [np.stack([_areas(truth, one, weights) for one in curve[count]]) for count in counts]
    alone = np.stack([_areas(truth, one, weights) for one in generated])
    levels = np.stack([_over_seeds(areas, (), rng) for areas in arms])
    reached = _over_seeds(alone, groups, rng)
    found = np.array([_meet(counts, levels[:, place], reached[place]) for place in range(rounds + 1)])
    low, high = np.nanquantile(found[1:], [0.025, 0.975])
    return Worth(float(found[0]), float(min(low, found[0])), float(max(high, found[0])), float(counts[-1]))


def _areas(truth: NDArray[np.bool_], scores: Floats, weights: Floats) -> Floats:
    """The AUC under each row of weights (rounds, N); ties count half, NaN where a class was not drawn."""
    above, beside = scores[truth][:, None], scores[~truth][None, :]
    kernel = (above > beside) + 0.5 * (above == beside)
    positives, negatives = weights[:, truth], weights[:, ~truth]
    total = positives.sum(1) * negatives.sum(1)
    sums = ((positives @ kernel) * negatives).sum(1)
    found: Floats = np.divide(sums, total, out=np.full(len(sums), np.nan), where=total > 0)
    return found


def _over_seeds(areas: Floats, groups: Sequence[int], rng: np.random.Generator) -> Floats:
    """The mean over the seeds (seeds, rounds); in each round but the first one that other seeds could give as well.

    It is off by Student's t times the standard error, as in `paired`: two or three drawn anew would differ too little.
    Where there are several embeddings their means count. Of one seed alone no error is known, and none is added.
    """
    kinds = np.asarray(groups if len(set(groups)) > 1 else range(len(areas)))
    means = np.stack([areas[kinds == name].mean(0) for name in np.unique(kinds)])
    found: Floats = areas.mean(0)
    if len(means) > 1:
        error = means.std(0, ddof=1) / math.sqrt(len(means))
        found[1:] = means[:, 1:].mean(0) + rng.standard_t(len(means) - 1, len(found) - 1) * error[1:]
    return found


def _meet(counts: Sequence[float], levels: Floats, reached: float) -> float:
    """Where the curve, made to rise, reaches an AUC; 0 at chance, by the logarithm between measured points."""
    if math.isnan(reached) or np.isnan(levels).any():
        return math.nan
    rising = isotonic_regression(levels).x
    if reached <= _CHANCE:
        return 0.0
    if reached >= rising[-1]:
        return float(counts[-1])
    if reached < rising[0]:
        return float(counts[0] * (reached - _CHANCE) / max(rising[0] - _CHANCE, 1e-12))
    place = int(np.searchsorted(rising, reached, side="right")) - 1
    share = (reached - rising[place]) / (rising[place + 1] - rising[place])
    return float(math.exp(math.log(counts[place]) * (1 - share) + math.log(counts[place + 1]) * share))
