"""How much is measured: FULL for figures, QUICK to try a change, SMALLEST for the tests (its figures mean nothing)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Sizes of every benchmark.

    `repeats` are turns of each arm. Training: `turn` steps a turn (a fourth of it with the large table), `batch` images
    a step; to equal quality runs of each of `lengths` steps, looked at on `kept_back` images and `generated` ones, for
    each of `seeds`; `vocabulary` x `width` is the large text table; `memory` starts a process for each arm and base.
    Drawing: `drawn` images in `sampling_steps`.
    """

    name: str
    repeats: int
    turn: int
    batch: int
    images: int
    lengths: tuple[int, ...]
    kept_back: int
    generated: int
    seeds: int
    vocabulary: int
    width: int
    memory: bool
    drawn: int
    sampling_steps: int


FULL = Scale("full", 7, 8, 16, 100, (25, 50, 100, 200), 32, 96, 2, 49_408, 768, True, 8, 20)
QUICK = Scale("quick", 3, 3, 16, 100, (10, 20, 40), 16, 32, 1, 49_408, 768, True, 2, 10)
SMALLEST = Scale("smallest", 1, 1, 2, 4, (1, 2), 2, 2, 1, 600, 32, False, 1, 2)
