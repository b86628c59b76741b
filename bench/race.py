"""Training to equal quality: embhub's defaults beside a tuned peer, each at the number of steps that suits it best.

The peer is the recipe of `bench.recipe`, tuned: its latents are made once, its rate falls on a cosine, both arms have
the same precision, and the rate is the best of `RATES` by the loss on images kept back. Both arms train anew for each
number of steps, since the rate's schedule depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np
from torch import Tensor

from bases.workshop import sampling
from bases.workshop.counting import Pictures, tensor
from bases.workshop.xray import default_data
from bench import findings, worth
from bench import worth_material as material
from bench.arms import FINDING, SIDES, TOKEN, Side, Task, first_word, started
from bench.measurement import Spent, Watch, ratio
from bench.scale import Scale
from bench.table import Row, Section, both_clocks
from embhub.builtin_bases import info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.evaluation import fitting
from embhub.diffusion.evaluation.networks import find
from embhub.diffusion.evaluation.regimes import Lesson, balance
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.inversion import encode_images, mean_loss
from embhub.diffusion.training.precision import in_bfloat16

GOAL, CALLED_GOAL = 1.5, 0.85
RATES = (0.01, 0.03, 0.1, 0.2, 0.3)
PEER = "Peer: the recipe of diffusers' examples (`bench/recipe.py`), tuned as `bench/race.py` says."
DRAWS = 10
"""Noise levels of the loss on images kept back, always with the same noise."""

Called = Callable[[Pictures], "np.ndarray[tuple[int], np.dtype[np.bool_]]"]


@dataclass(frozen=True)
class Problem:
    """What is learned on one base: `learned` (N, 3, H, W) in [-1, 1], `kept_back` images (M, 3, H, W) of others, and
    `called`, which says of generated images whether a judge sees the finding. `pipe` is never changed."""

    base: str
    pipe: Pipeline
    caption: str
    learned: Tensor
    kept_back: Tensor
    called: Called


@dataclass(frozen=True)
class End:
    """A finished training: what was spent, the loss on images kept back, the share that the judge calls the finding."""

    steps: int
    spent: Spent
    loss: float
    called: float


Ends = Mapping[int, Sequence[End]]
"""For each number of steps the trainings of all seeds, in their order."""


def phantoms(scale: Scale) -> Problem:
    """The held-out finding of `builtin`."""
    subject = findings.SUBJECTS[FINDING]
    judge = findings.judge(FINDING, "healthy")
    learned, kept = (tensor(findings.real(subject, n, seed)) for n, seed in ((scale.images, 0), (scale.kept_back, 1)))
    pipe = load_pipeline("builtin", device="cpu")
    return Problem("builtin", pipe, subject.prompt, learned, kept, lambda pictures: judge(pictures) > 0.5)


def films(scale: Scale, data: Path) -> Problem:
    """Children's pneumonia on `builtin-xray`: hospital A's films are learned from; the judge is taught with B's."""
    one = worth.modalities()[0]
    site, pool, test = material.site(data, one), material.real(data, one, "judge"), material.real(data, one, "test")
    choices = fitting.Choices(find("pretrained"), worth.SIDE, mirror=False, device="cpu")
    chances = balance(pool.labels, np.ones(len(pool), bool), None)
    judge = fitting.fit([Lesson(pool, 0, chances=chances)], choices, seed=0)
    learned, kept = (
        tensor(site.images[: scale.images]), tensor(test.images[test.labels == 1][: scale.kept_back])
    )  # fmt: skip
    pipe, caption = load_pipeline(one.set, device="cpu"), f"{one.prompt}, {{}}"
    return Problem(
        one.set, pipe, caption, learned, kept, lambda pictures: fitting.score(judge, pictures, choices) > 0.5
    )


def run(scale: Scale) -> Section:
    """Phantoms, and real films where there are any; on two cores 50 minutes for the first, longer for the second."""
    rows, notes = measure(phantoms(scale), scale)
    if (data := default_data()).joinpath("chest-xray").is_dir():
        more, said = measure(films(scale, data), scale)
        rows, notes = [*rows, *more], [*notes, *said]
    else:
        notes.append("Real films: not measured, there are none on this machine.")
    notes.append(
        f"{scale.images} images to learn from, {scale.batch} a step, embhub's defaults otherwise; steps tried: "
        f"{', '.join(map(str, scale.lengths))}, {scale.seeds} seeds. The loss is on {scale.kept_back} images of "
        f"others, the judge saw {scale.generated} generated images of each training. "
        "Making latents and growing the table count, loading the base does not."
    )
    return Section("Training to equal quality", PEER, tuple(rows), tuple(notes))


def measure(problem: Problem, scale: Scale) -> tuple[list[Row], list[str]]:
    """The rows of one base, and a sentence about the peer's rate."""
    middle = scale.lengths[len(scale.lengths) // 2]
    losses = {rate: train("peer", problem, scale, middle, 0, rate=rate, generated=0).loss for rate in RATES}
    best = min(losses, key=losses.__getitem__)
    ends: dict[Side, dict[int, list[End]]] = {side: {length: [] for length in scale.lengths} for side in SIDES}
    for seed in range(scale.seeds):
        for length in scale.lengths:
            for side in SIDES:
                ends[side][length].append(
                    train(side, problem, scale, length, seed, rate=best, generated=scale.generated)
                )
    tried = ", ".join(f"{rate:g}: {loss:.4f}" for rate, loss in losses.items())
    note = f"The peer's rate on `{problem.base}` is {best:g}. Losses after {middle} steps by rate: {tried}."
    return [to_equal_loss(problem.base, ends), to_the_finding(problem.base, ends)], [note]


def train(side: Side, problem: Problem, scale: Scale, steps: int, seed: int, *, rate: float, generated: int) -> End:
    """One training, and what it is worth. Making latents counts; loading and looking do not."""
    pipe, watch, fast = load_pipeline(problem.base, device="cpu"), Watch(), in_bfloat16("cpu")
    task = Task(
        problem.learned, first_word(pipe), scale.batch,
        bfloat16=fast, peer_bfloat16=fast, peer_rate=rate, peer_tuned=True,
        caption=problem.caption, steps=steps, seed=seed,
    )  # fmt: skip
    watch.start()
    with started(side, pipe, task) as arm:
        for _ in range(steps):
            arm.step()
        spent, rows = watch.stop(), arm.rows
    latents, told = encode_images(problem.pipe, problem.kept_back), {"token": TOKEN, "caption": problem.caption}
    loss = mean_loss(problem.pipe, latents, rows=rows, draws=DRAWS, **told)
    recommended = info(problem.base).recommended
    guidance, sampling_steps = recommended["guidance"], int(recommended["steps"])
    if not generated:
        return End(steps, spent, loss, 0.0)
    pictures = sampling.sample_with(
        problem.pipe, rows, problem.caption, generated, guidance=guidance, steps=sampling_steps, seed=seed
    )
    return End(steps, spent, loss, float(problem.called(pictures).mean()))


def to_equal_loss(base: str, ends: Mapping[Side, Ends]) -> Row:
    """Time to the loss that both arms reach: the higher of their lowest ones, each the mean of the seeds."""
    lowest = [min(fmean(end.loss for end in runs) for runs in ends[side].values()) for side in SIDES]
    level = max(lowest)
    what = f"{base}: to a loss of {level:.4f} (lowest {lowest[0]:.4f} and {lowest[1]:.4f})"
    return _row(what, ends, lambda runs: fmean(end.loss for end in runs) <= level)


def to_the_finding(base: str, ends: Mapping[Side, Ends]) -> Row:
    """Time until the judge calls `CALLED_GOAL` of the generated images the finding."""
    best = [max(fmean(end.called for end in runs) for runs in ends[side].values()) for side in SIDES]
    what = f"{base}: until {CALLED_GOAL:.0%} are called the finding (most {best[0]:.0%} and {best[1]:.0%})"
    return _row(what, ends, lambda runs: fmean(end.called for end in runs) >= CALLED_GOAL)


def _row(what: str, ends: Mapping[Side, Ends], good: Callable[[Sequence[End]], bool]) -> Row:
    """Each arm by its cheapest number of steps that is good enough."""
    found = {side: [runs for runs in ends[side].values() if good(runs)] for side in SIDES}
    ours, peer = (min(found[side], key=_middle, default=None) for side in SIDES)
    cells = (_cell(ours, ends["embhub"]), _cell(peer, ends["peer"]))
    if ours is None:  # no ratio, and so no goal met: slower by an amount that nobody measured
        return Row(what, *cells, goal=GOAL)
    # A peer that never arrived is counted with all it spent: the ratio is then a lower bound.
    theirs = peer or max(ends["peer"].values(), key=_middle)
    wall, cpu = (
        ratio([one(end) for end in theirs], [one(end) for end in ours], at_least=peer is None) for one in (_wall, _cpu)
    )
    return Row(what, *cells, wall, cpu, GOAL)


def _cell(runs: Sequence[End] | None, ends: Ends) -> str:
    if runs is None:
        return f"not in {max(ends)} steps"
    spent = Spent(median(end.spent.wall for end in runs), median(end.spent.cpu for end in runs))
    return f"{both_clocks(spent)}, {runs[0].steps} steps"


def _middle(runs: Sequence[End]) -> float:
    return median(map(_wall, runs))


def _wall(end: End) -> float:
    return end.spent.wall


def _cpu(end: End) -> float:
    return end.spent.cpu
