"""How much is measured: FULL for figures, QUICK to try a change, SMALLEST for the tests (its figures mean nothing)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Sizes of every benchmark.

    `repeats` are turns of each arm. Training: `turn` steps a turn (a fourth of it with the large table), `batch` images
    a step, `race` steps a run to equal quality, which is looked at every `look` steps on `kept_back` images, for each
    of `seeds`; `vocabulary` x `width` is the large text table; `memory` starts a process for each arm and base.
    Drawing: `drawn` images in `sampling_steps`.
    """

    name: str
    repeats: int
    turn: int
    batch: int
    images: int
    race: int
    look: int
    kept_back: int
    seeds: int
    vocabulary: int
    width: int
    memory: bool
    drawn: int
    sampling_steps: int


FULL = Scale("full", 7, 8, 16, 100, 200, 10, 32, 3, 49_408, 768, True, 8, 20)
QUICK = Scale("quick", 3, 3, 16, 100, 40, 5, 16, 1, 49_408, 768, True, 2, 10)
SMALLEST = Scale("smallest", 1, 1, 2, 4, 2, 1, 2, 1, 600, 32, False, 1, 2)
