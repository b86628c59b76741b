"""Drawing with an embedding: `embhub.diffusion.generation.generation` beside diffusers alone; a ratio near 1 is what
should come.

embhub checks the base's fingerprint and seeds each image by itself; the denoising is diffusers' in both arms.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from bench.measurement import clocked, compare
from bench.scale import Scale
from bench.table import Row, Section, timed
from embhub.artifact import embedding, fingerprint
from embhub.artifact.embedding import Embedding
from embhub.builtin_bases import info, resolve
from embhub.diffusion.bases.found import quiet
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.datasets.making import make_dataset
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.generation.generation import draw, generate
from embhub.diffusion.generation.loading import load_into
from embhub.options.sampling import Sampling

PEER = "Peer: diffusers alone: `from_pretrained`, `load_textual_inversion`, the pipeline's call, with the same seeds."
TOKEN, PROMPT = "<cspca>", "prostate mri with <cspca>"
GUIDANCE = 3.0
DATASET_GOAL = 0.9


def run(scale: Scale) -> Section:
    """From the base's folder to pictures, and with the pipeline at hand."""
    made = make_embedding()
    settings: dict[str, Any] = {"n": scale.drawn, "seed": 0, "steps": scale.sampling_steps, "guidance_scale": GUIDANCE}
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "cspca.safetensors"
        file.write_bytes(made.data)

        def call(pipe: Pipeline) -> None:
            generators = [torch.Generator().manual_seed(number) for number in range(scale.drawn)]
            steps = scale.sampling_steps
            pipe([PROMPT] * scale.drawn, num_inference_steps=steps, guidance_scale=GUIDANCE, generator=generators)

        ours, peer = load_pipeline("builtin", device="cpu"), load_peer(file)
        load_into(ours, made)
        rows = [
            timed(what, compare(clocked(mine), clocked(theirs), repeats=scale.repeats))
            for what, mine, theirs in (
                (
                    "load the base and the embedding, draw",
                    lambda: generate(PROMPT, embeddings=[made], base="builtin", device="cpu", **settings),
                    lambda: call(load_peer(file)),
                ),
                ("draw with a loaded pipeline", lambda: draw(ours, PROMPT, **settings), lambda: call(peer)),
            )
        ]
        rows.append(compare_data_sets(file, scale))
    notes = (
        f"{scale.drawn} images of {info('builtin').resolution} pixels a side in {scale.sampling_steps} steps on the "
        "processor. A data set: "
        f"{2 * scale.drawn} images in batches of {scale.drawn}, with manifest and datasheet; the peer writes PNG files "
        "alone.",
    )
    return Section("Drawing", PEER, tuple(rows), notes)


def load_peer(file: Path, device: str = "cpu") -> Any:
    """`builtin` as diffusers loads it, with the embedding of `file`."""
    with quiet():
        pipe = StableDiffusionPipeline.from_pretrained(resolve("builtin"), use_safetensors=True).to(device)
        pipe.set_progress_bar_config(disable=True)
        pipe.load_textual_inversion(str(file), token=TOKEN)
    return pipe


def compare_data_sets(file: Path, scale: Scale, device: str = "cpu") -> Row:
    """A data set in batches, beside the bare pipeline in the same batches; both load the base.

    Data sets are written beside `file`."""
    count, number, place = 2 * scale.drawn, itertools.count(), file.parent

    def ours() -> None:
        make_dataset(
            place / f"ours-{next(number)}", classes=[f"sick={PROMPT}"], embeddings=[str(file)], base="builtin",
            per_class=count, steps=scale.sampling_steps, guidance_scale=GUIDANCE, no_card=[TOKEN], device=device,
            sampling=Sampling(batch_size=scale.drawn),
        )  # fmt: skip

    def bare() -> None:
        pipe, folder = load_peer(file, device), place / f"peer-{next(number)}"
        folder.mkdir()
        for first in range(0, count, scale.drawn):
            generators = [torch.Generator().manual_seed(first + offset) for offset in range(scale.drawn)]
            images = pipe(
                [PROMPT] * scale.drawn, num_inference_steps=scale.sampling_steps, guidance_scale=GUIDANCE,
                generator=generators,
            ).images  # fmt: skip
            for offset, image in enumerate(images):
                image.save(folder / f"{first + offset:05d}.png")

    what = "a data set in batches, from the base's folder to PNG files"
    return timed(what, compare(clocked(ours), clocked(bare), repeats=scale.repeats), goal=DATASET_GOAL)


def make_embedding() -> Embedding:
    """Eight rows of noise for `builtin`: time does not depend on what they mean."""
    folder = resolve("builtin")
    assert folder is not None
    base = fingerprint.take(folder)
    width = int(base["encoders"]["text_encoder"]["dim"])
    rows = np.random.default_rng(0).normal(size=(8, width)) * 0.05
    return embedding.build({"emb_params": rows}, token=TOKEN, base=base, base_name="builtin", training={"steps": 1})
