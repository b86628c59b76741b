"""Training to equal quality: what each arm has spent when its loss on images kept back has fallen to a level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from torch import Tensor

from bench.arms import CAPTION, TOKEN, Side, Task, started
from bench.measurement import Spent, Watch, ratio
from bench.table import Row, both_clocks
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.training.inversion import mean_loss

DRAWS = 4
"""Noise levels that the loss is looked at on, always with the same noise."""


@dataclass(frozen=True)
class Point:
    """After `steps` steps: what was spent, preparation included, looking excluded; and the loss on images kept back."""

    steps: int
    spent: Spent
    loss: float


@dataclass(frozen=True)
class Heat:
    """One seed's two curves."""

    ours: tuple[Point, ...]
    peer: tuple[Point, ...]


def run(side: Side, base: str, task: Task, *, judge: Any, kept_back: Tensor, look: int) -> tuple[Point, ...]:
    """Train one arm for the task's steps, looking every `look`. `judge` is another copy of the base, never changed."""
    pipe, watch, points = load_pipeline(base, device="cpu"), Watch(), list[Point]()
    watch.start()
    with started(side, pipe, task) as arm:
        for step in range(1, task.steps + 1):
            arm.step()
            if step % look == 0 or step == task.steps:
                spent = watch.stop()
                loss = mean_loss(judge, kept_back, token=TOKEN, caption=CAPTION, rows=arm.rows, draws=DRAWS)
                points.append(Point(step, spent, loss))
                watch.start()
    return tuple(points)


def reach(curve: Sequence[Point], level: float) -> Point | None:
    """The first point at or below `level`; None where there is none."""
    return next((point for point in curve if point.loss <= level), None)


def to_the_peers_end(what: str, heats: Sequence[Heat], *, goal: float | None = None) -> Row:
    """When each arm is as good as the peer ends up, seed by seed."""
    return _row(what, [(heat, heat.peer[-1].loss) for heat in heats], goal)


def to_our_end(what: str, heats: Sequence[Heat]) -> Row:
    """When each arm is as good as embhub ends up, seed by seed."""
    return _row(what, [(heat, heat.ours[-1].loss) for heat in heats], None)


def _row(what: str, levels: Sequence[tuple[Heat, float]], goal: float | None) -> Row:
    ours = [reach(heat.ours, level) for heat, level in levels]
    peer = [reach(heat.peer, level) for heat, level in levels]
    what = f"{what} ({median(level for _, level in levels):.4f})"
    cells = (_cell(ours, [heat.ours[-1] for heat, _ in levels]), _cell(peer, [heat.peer[-1] for heat, _ in levels]))
    if None in ours:  # no ratio, and so no goal met: slower by an amount that nobody measured
        return Row(what, *cells, goal=goal)
    # An arm that never arrived is counted with all it spent: the ratio is then a lower bound.
    mine = [point.spent for point in ours if point]
    theirs = [(point or heat.peer[-1]).spent for point, (heat, _) in zip(peer, levels, strict=True)]
    late = None in peer
    wall = ratio([s.wall for s in theirs], [s.wall for s in mine], at_least=late)
    cpu = ratio([s.cpu for s in theirs], [s.cpu for s in mine], at_least=late)
    return Row(what, *cells, wall, cpu, goal)


def _cell(points: Sequence[Point | None], ends: Sequence[Point]) -> str:
    arrived = [point for point in points if point]
    if len(arrived) < len(points):
        last = both_clocks(Spent(median(e.spent.wall for e in ends), median(e.spent.cpu for e in ends)))
        return f"not in {ends[0].steps} steps, {last}, in {len(points) - len(arrived)} of {len(points)}"
    steps = median(point.steps for point in arrived)
    spent = Spent(median(p.spent.wall for p in arrived), median(p.spent.cpu for p in arrived))
    return f"{both_clocks(spent)}, {steps:g} steps"
