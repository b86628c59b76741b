"""In which order and share a classifier meets real and drawn images: the regimes of teaching.

- *mixed*: real and drawn images side by side in every batch.
- *pretrained*: half of the steps on drawn images, then half on real ones at a third of the rate (after RoentGen-v2,
  arXiv 2508.16783).
- *filtered*: mixed, with those drawn images alone that a classifier of the same real images takes for what they are
  labelled. It never sees a test patient.
- *normals*: mixed, with the drawn negatives alone: what more negatives do without any image of the finding.
- *stopped early*: real images alone, a fifth of their patients set apart; the weights with the lowest loss on those
  count. Without it any further picture may pass for help that only keeps the network from learning by heart.

Every regime has the same number of steps, the same real images and the same seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embhub.diffusion.evaluation.cells import STOPPED, Cell, Labelled, choose, of_class, take

Floats = NDArray[np.float64]
Arms = Mapping[str, Sequence[Labelled]]
"""Drawn images by arm: one set for each embedding of a recipe. A seed takes one of them, in turn."""
Judge = Callable[[Labelled], Floats]
"""The probability of the finding for each image, by a classifier of the cell's real images."""
HELD, TUNING_RATE = 0.2, 1 / 3


@dataclass(frozen=True)
class Lesson:
    """Images for some steps at a share of the classifier's rate.

    `chances` say how often each image is taken (None: all alike), `held` are images that decide when it was best.
    """

    images: Labelled
    steps: int
    rate: float = 1.0
    chances: Floats | None = None
    held: Labelled | None = None


def member(cell: Cell, arms: Arms, seed: int) -> Labelled:
    """The drawn images of a cell that a seed takes: those of one embedding."""
    return arms[cell.arm][seed % len(arms[cell.arm])]


def plan(
    cell: Cell,
    pool: Labelled,
    arms: Arms,
    seed: int,
    steps: int,
    *,
    real_share: float | None = None,
    judge: Judge | None = None,
) -> list[Lesson]:
    """The lessons of a cell. A seed draws the same real images in every cell, the fewer among the more.

    Raises:
        ValueError: a filtered cell without a judge, or too few patients to stop early.
    """
    real = take(pool, choose(pool, cell.real, seed))
    if not cell.drawn:
        return [_stopped(real, seed, steps) if cell.regime == STOPPED else Lesson(real, steps)]
    drawn = member(cell, arms, seed)
    if not cell.real:
        return [Lesson(take(drawn, choose(drawn, cell.drawn, seed)), steps)]
    if cell.regime == "filtered":
        if judge is None:
            raise ValueError("a filter needs a judge")
        drawn = take(drawn, np.flatnonzero((judge(drawn) > 0.5) == (drawn.labels == 1)))
    drawn = take(drawn, choose(drawn, cell.drawn, seed))
    if cell.regime == "pretrained":
        return [Lesson(drawn, steps // 2), Lesson(real, steps - steps // 2, TUNING_RATE)]
    if cell.regime == "normals":
        drawn = of_class(drawn, 0)
    both = join(real, drawn)
    if cell.regime == "mixed" and real_share is None:
        return [Lesson(both, steps)]
    is_real = np.arange(len(both)) < len(real)
    return [Lesson(both, steps, chances=balance(both.labels, is_real, real_share))]


def join(*parts: Labelled) -> Labelled:
    """All of them, in order."""
    return Labelled(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        tuple(name for part in parts for name in part.patients),
    )


def balance(labels: NDArray[np.int64], is_real: NDArray[np.bool_], real_share: float | None) -> Floats:
    """Chances of the images: half for each class; within a class `real_share` for the real ones, else all alike."""
    chances = np.zeros(len(labels))
    for value in (0, 1):
        mine = labels == value
        for source in (True, False):
            some = mine & (is_real == source)
            if not some.any():
                continue
            part = 1.0 if some.sum() == mine.sum() else some.sum() / mine.sum()
            if real_share is not None and part < 1:
                part = real_share if source else 1 - real_share
            chances[some] = part / some.sum()
    chances /= chances.sum()
    return chances


def hold_out(images: Labelled, seed: int, *, share: float = HELD) -> tuple[Labelled, Labelled] | None:
    """The images without those of some patients, and theirs: a share of each class or more; None for too few people."""
    generator = np.random.Generator(np.random.PCG64([seed, 2]))
    counts: dict[str, list[int]] = {name: [0, 0] for name in images.patients}
    for name, label in zip(images.patients, images.labels.tolist(), strict=True):
        counts[name][label] += 1
    totals = np.sum(list(counts.values()), axis=0)
    have, taken = np.zeros(2), set()
    for name in map(str, generator.permutation(sorted(counts))):
        if any(have[value] < share * totals[value] and counts[name][value] for value in (0, 1)):
            taken.add(name)
            have += counts[name]
    chosen = np.array([name in taken for name in images.patients])
    parts = take(images, np.flatnonzero(~chosen)), take(images, np.flatnonzero(chosen))
    return None if any(len(set(part.labels.tolist())) < 2 for part in parts) else parts


def stoppable(pool: Labelled, counts: Sequence[int], seeds: int) -> list[int]:
    """The counts of real images of which every seed can set patients apart."""
    return [
        count
        for count in counts
        if count and all(hold_out(take(pool, choose(pool, count, seed)), seed) for seed in range(seeds))
    ]


def _stopped(real: Labelled, seed: int, steps: int) -> Lesson:
    parts = hold_out(real, seed)
    if parts is None:
        raise ValueError("too few patients of a class to set some apart")
    return Lesson(parts[0], steps, held=parts[1])
