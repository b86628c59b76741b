"""Which classifiers are taught: a grid of real and drawn images, and which of them each seed draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embhub.options.regimes import Regime

Pictures = NDArray[np.uint8]
STOPPED: Regime = "stopped early"


@dataclass(frozen=True)
class Labelled:
    """Images uint8 (N, H, W, 3), `labels` int64 (N,) with 1 for positives, and `patients`, whose each is."""

    images: Pictures
    labels: NDArray[np.int64]
    patients: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def most(self) -> int:
        """How many images can be drawn, half of each class."""
        return 2 * min(int((self.labels == value).sum()) for value in (0, 1))


@dataclass(frozen=True)
class Cell:
    """One way of teaching: so many real images, and so many drawn ones of an arm. Either may be 0, not both."""

    real: int
    arm: str = ""
    drawn: int = 0
    regime: Regime = "mixed"

    @property
    def alone(self) -> Cell:
        """The same real images without drawn ones."""
        return Cell(self.real)


def grid(
    real: Sequence[int],
    drawn: Mapping[str, Sequence[int]],
    regimes: Sequence[Regime] = ("mixed",),
    *,
    stopped: Sequence[int] = (),
) -> list[Cell]:
    """Every cell once: real alone, drawn alone, both in each regime. Zeros are understood.

    `drawn` has the counts of each arm. Real images alone are also taught with early stopping for the counts `stopped`.
    Only what needs no real images is taught with drawn ones alone.
    """
    counts = sorted({0, *real})
    cells = [Cell(count) for count in counts if count]
    cells += [Cell(count, regime=STOPPED) for count in counts if count and count in stopped]
    for arm, numbers in drawn.items():
        for number in sorted(set(numbers) - {0}):
            cells += [Cell(0, arm, number)]
            cells += [Cell(count, arm, number, regime) for regime in regimes for count in counts if count]
    return cells


def choose(pool: Labelled, count: int, seed: int) -> NDArray[np.intp]:
    """Places of `count` images, half of each class: patients in a random order, each with all images of that class."""
    generator = np.random.Generator(np.random.PCG64([seed, 1]))
    order = {patient: place for place, patient in enumerate(generator.permutation(sorted(set(pool.patients))))}
    ranks = np.array([order[patient] for patient in pool.patients])
    halves = []
    for value, number in ((0, count - count // 2), (1, count // 2)):
        places = np.flatnonzero(pool.labels == value)
        halves.append(places[np.argsort(ranks[places], kind="stable")][:number])
    return np.concatenate(halves)


def of_class(pool: Labelled, value: int) -> Labelled:
    """The images of one class."""
    return take(pool, np.flatnonzero(pool.labels == value))


def take(pool: Labelled, places: NDArray[np.intp]) -> Labelled:
    """The images at some places."""
    return Labelled(pool.images[places], pool.labels[places], tuple(pool.patients[place] for place in places))


def runs(cells: Sequence[Cell], seeds: int) -> Iterator[tuple[int, Cell]]:
    """Every cell of one seed, then of the next: what is there at any moment is a study of fewer seeds."""
    return ((seed, cell) for seed in range(seeds) for cell in cells)
