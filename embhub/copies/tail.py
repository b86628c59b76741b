"""From distances to training images to a p-value: how near is too near? Pure.

A distance means nothing before it is known how near *other people's* images come. So every image, drawn or of a patient
kept back, gets one score on a measure: the logarithm of its distance to the nearest training image over that to the
next ones. Blur and dullness, which shrink all distances of an image alike, leave it as it is (after Carlini et al.
2023, arXiv 2301.13188, section 4.2). Scores of patients kept back are the controls.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]

NEIGHBOURS = 20
"""Patients behind the nearest one whose distances make the yardstick of an image."""
FEWEST_CONTROLS, FEWEST_MEMBERS = 20, 10
TAIL, MOST_IN_TAIL = 5, 20
"""The nearest fifth of the controls, 20 at most, shows how the tail falls off."""


def score(distances: Scores, owners: Sequence[Hashable]) -> Scores:
    """Scores (N,), lower for an image that is strangely near, of distances (N, M) to M training images.

    `owners` says whose each training image is: of a patient the nearest image counts, so that two images of one person
    do not excuse a copy of either. An image on top of a training image is as near as a millionth of the median.

    Raises:
        ValueError: fewer patients than `FEWEST_MEMBERS`, or lengths that do not fit.
    """
    names = list(dict.fromkeys(owners))
    if len(owners) != distances.shape[1] or len(names) < FEWEST_MEMBERS:
        raise ValueError(f"{distances.shape[1]} distances to the images of {len(names)} patients")
    place = {name: index for index, name in enumerate(names)}
    columns = np.array([place[owner] for owner in owners])
    nearest = np.stack([distances[:, columns == index].min(1) for index in range(len(names))], axis=1)
    floor = 1e-6 * max(float(np.median(nearest)), 1e-12)
    ordered = np.log(np.maximum(np.sort(nearest, axis=1), floor))
    found: Scores = ordered[:, 0] - ordered[:, 1 : NEIGHBOURS + 1].mean(1)
    return found


def p_values(scores: Scores, controls: Scores) -> Scores:
    """One-sided p-values (N,): how often would an image of somebody else come so near?

    Down to the (k + 1)-th smallest of m controls, k = m / TAIL (5 to 20), the rank: (r + 1) / (m + 1). Below it the
    tail is taken to fall off exponentially, as that of the logarithm of a nearest distance does (Pickands 1975, Ann.
    Statist. 3(1)); with the k excesses' sum S known and their mean not, P(excess > x) = (1 + x / S)^-k.

    Raises:
        ValueError: fewer than `FEWEST_CONTROLS`.
    """
    if len(controls) < FEWEST_CONTROLS:
        raise ValueError(f"{len(controls)} controls, at least {FEWEST_CONTROLS} are needed")
    ordered, count = np.sort(controls), len(controls)
    tail = min(max(TAIL, count // TAIL), MOST_IN_TAIL)
    threshold = ordered[tail]
    excess = max(float((threshold - ordered[:tail]).sum()), 1e-12)
    ranks = (np.searchsorted(ordered, scores, side="right") + 1) / (count + 1)
    beyond = (tail + 1) / (count + 1) * (1 + np.maximum(threshold - scores, 0) / excess) ** -tail
    found: Scores = np.minimum(np.where(scores < threshold, beyond, ranks), 1.0)
    return found


def threshold(alpha: float, *, samples: int, measures: int) -> float:
    """The p-value under which one sample on one measure is suspected, so that all of them together are wrongly
    suspected with a chance of at most `alpha` (Bonferroni)."""
    return alpha / (samples * measures)
