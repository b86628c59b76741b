"""Training: embhub's loop beside the textual-inversion recipe of diffusers' examples (`bench.recipe`).

Same base, images, batch, number of vectors and precision. Three questions: seconds a step, seconds to equal quality,
peak memory; on `builtin`, and with a text table of Stable Diffusion's size, where the peer's AdamW goes over all rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench import memory
from bench.arms import SIDES, Task, draw_images, first_word, started
from bench.bases import build_stable_diffusion, write_large_table
from bench.measurement import Compared, Ratio, clocked, compare
from bench.scale import Scale
from bench.table import Row, Section, timed
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.precision import in_bfloat16

STEP_GOAL, LARGE_STEP_GOAL = 1.4, 2.0
PEER = (
    "Peer: the textual-inversion recipe of diffusers' examples, told anew in `bench/recipe.py`, which says what it "
    "leaves out. Same base, images, batch, vectors and precision in both arms."
)


def run(scale: Scale) -> Section:
    """A step and its memory; five minutes. `bench.race` compares whole trainings."""
    shorter = replace(scale, turn=max(1, scale.turn // 4))
    with tempfile.TemporaryDirectory() as folder:
        large = str(write_large_table(Path(folder), vocabulary=scale.vocabulary, width=scale.width))
        size = f"{scale.vocabulary:,} x {scale.width} table"
        rows = [
            _step("a step on builtin, both bfloat16", "builtin", scale, goal=STEP_GOAL),
            _step(
                "a step on builtin, both float32", "builtin", scale, goal=STEP_GOAL, bfloat16=False, peer_bfloat16=False
            ),
            _step(
                f"a step on builtin, both {own_precision()}, the peer's latents made once too",
                "builtin",
                scale,
                bfloat16=in_bfloat16("cpu"),
                peer_bfloat16=in_bfloat16("cpu"),
                peer_tuned=True,
            ),
            _step(f"a step with a {size}, both bfloat16", large, shorter, goal=LARGE_STEP_GOAL),
        ]
        if scale.memory:
            rows.append(_memory("peak memory on builtin", "builtin", scale))
            rows.append(_memory(f"peak memory with a {size}", large, scale))
    rows, notes = [*rows, *_gpu_rows(scale)], [_settings(scale)]
    if not torch.cuda.is_available():
        notes.append("Stable Diffusion 1.5's size at 512 pixels: not measured, no GPU on this machine.")
    return Section("Training", PEER, tuple(rows), tuple(notes))


def _step(what: str, base: str, scale: Scale, *, goal: float | None = None, **same: Any) -> Row:
    ours, peer = load_pipeline(base, device="cpu"), load_pipeline(base, device="cpu")
    task = Task(draw_images(ours, scale.images, seed=0), first_word(ours), scale.batch, **same)
    return timed(what, _take_turns(ours, peer, task, scale), goal=goal)


def _take_turns(ours: Any, peer: Any, task: Task, scale: Scale) -> Compared:
    with ExitStack() as stack:
        mine = stack.enter_context(started("embhub", ours, task))
        theirs = stack.enter_context(started("peer", peer, task))
        return compare(
            clocked(mine.step, times=scale.turn), clocked(theirs.step, times=scale.turn), repeats=scale.repeats
        )


def _memory(what: str, base: str, scale: Scale) -> Row:
    ours, peer = (memory.measure(side, base, batch_size=scale.batch, images=scale.images) for side in SIDES)
    return _in_megabytes(what, ours, peer)


def _gpu_rows(scale: Scale) -> list[Row]:
    """Stable Diffusion 1.5's size at 512 pixels: a step and peak memory; nothing without a GPU."""
    if not torch.cuda.is_available():
        return []
    return measure_large(lambda: build_stable_diffusion(torch.device("cuda")), scale)


def measure_large(build: Callable[[], Pipeline], scale: Scale) -> list[Row]:
    """Steps and, on a GPU, peak memory of both arms, each on a pipeline that `build` makes; four images a step.

    The arms run one after the other, since two pipelines do not fit every GPU.
    """
    spent, peaks = {}, {}
    for side in SIDES:
        pipe = build()
        on_gpu = pipe.device.type == "cuda"
        task = Task(draw_images(pipe, scale.images, seed=0), first_word(pipe), min(4, scale.batch))
        if on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        with started(side, pipe, task) as arm:
            turn = clocked(arm.step, times=scale.turn)
            turn()
            spent[side] = tuple(turn() for _ in range(scale.repeats))
        peaks[side] = torch.cuda.max_memory_allocated() if on_gpu else 0
        del pipe, arm
    what = "with Stable Diffusion 1.5's size at 512 pixels"
    rows = [timed(f"a step {what}, bfloat16", Compared(spent["embhub"], spent["peer"]))]
    if on_gpu:
        rows.append(_in_megabytes(f"GPU memory {what}, weights included", peaks["embhub"], peaks["peer"]))
    return rows


def own_precision() -> str:
    """What embhub chooses on this processor."""
    return "bfloat16" if in_bfloat16("cpu") else "float32"


def _settings(scale: Scale) -> str:
    return (
        f"{scale.images} phantom images of a finding that the base never saw, {scale.batch} a step, 8 vectors, "
        f"{scale.repeats} turns of {scale.turn} steps an arm. "
        "Memory is what training adds to a process that holds base and images."
    )


def _in_megabytes(what: str, ours: int, peer: int) -> Row:
    """A row of one measurement each."""
    number = peer / max(ours, 1)
    return Row(what, f"{ours / 1e6:,.0f} MB", f"{peer / 1e6:,.0f} MB", Ratio(number, number, number))
