"""`python -m bench.gpu`: training and generating on a GPU beside diffusers.

Weights of Stable Diffusion 1.5's size are random: time and memory do not depend on what a weight says.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench import drawing, machine
from bench.arms import Task, draw_images, first_word, started
from bench.bases import build_stable_diffusion
from bench.measurement import clocked, compare
from bench.scale import FULL, QUICK, Scale
from bench.table import Row, Section, render, timed
from bench.training import PEER, measure_large
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.generation.generation import draw

PROMPT, GUIDANCE = "a prostate mri", 3.0
GOAL = 0.9
"""Of the bare batched pipeline's speed."""


def train(scale: Scale, device: str = "cuda") -> Section:
    """Steps on `builtin`, and steps and memory at the size of Stable Diffusion 1.5."""
    longer = replace(scale, turn=4 * scale.turn)
    large = measure_large(lambda: build_stable_diffusion(torch.device(device)), scale)
    rows = [_step_on_builtin(longer, device), *large]
    note = (
        f"`builtin`: {scale.batch} images a step, {scale.repeats} turns of {longer.turn} steps an arm. "
        f"The larger: 4 images a step, {scale.repeats} turns of {scale.turn} steps."
    )
    return Section("Training on a GPU", PEER, tuple(rows), (note,))


def _step_on_builtin(scale: Scale, device: str) -> Row:
    ours, peer = (load_pipeline("builtin", device=device) for _ in range(2))
    task = Task(draw_images(ours, scale.images, seed=0), first_word(ours), scale.batch)
    with ExitStack() as stack:
        mine, theirs = (stack.enter_context(started(*arm, task)) for arm in (("embhub", ours), ("peer", peer)))
        turns = [clocked(arm.step, times=scale.turn) for arm in (mine, theirs)]
        for turn in turns:
            turn()
        return timed("a step on builtin, both bfloat16", compare(*turns, repeats=scale.repeats))


def generate(scale: Scale, device: str = "cuda") -> Section:
    """Batches of images beside the bare pipeline's call with the same seeds."""
    count, steps = scale.drawn, scale.sampling_steps
    rows = []
    for what, pipe in (
        ("builtin, float32", load_pipeline("builtin", device=device)),
        ("Stable Diffusion 1.5's size at 512 pixels, bfloat16", _half(build_stable_diffusion(torch.device(device)))),
    ):
        pipe.set_progress_bar_config(disable=True)

        def ours(pipe: Any = pipe) -> None:
            draw(pipe, PROMPT, n=count, seed=0, steps=steps, guidance_scale=GUIDANCE, batch_size=count)

        def bare(pipe: Any = pipe) -> None:
            generators = [torch.Generator().manual_seed(number) for number in range(count)]
            pipe([PROMPT] * count, num_inference_steps=steps, guidance_scale=GUIDANCE, generator=generators)

        ours()
        bare()
        rows.append(timed(what, compare(clocked(ours), clocked(bare), repeats=scale.repeats), goal=GOAL))
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "cspca.safetensors"
        file.write_bytes(drawing.make_embedding().data)
        rows.append(drawing.compare_data_sets(file, scale, device))
    note = f"{count} images in {steps} steps. A data set on builtin: {2 * count} images in batches of {count}."
    peer = "Peer: the pipeline's own call in batches as large, with the same seeds."
    return Section("Generating on a GPU", peer, tuple(rows), (note,))


def _half(pipe: Any) -> Any:
    return pipe.to(torch.bfloat16)


def main() -> int:
    """Measure both; an error where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns: figures are rough")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        sys.stderr.write("error: this machine has no CUDA device\n")
        return 1
    scale = QUICK if asked.quick else FULL
    print(machine.table())
    print(render([train(scale), generate(scale)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
