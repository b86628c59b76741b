"""The two arms of training: embhub's loop and the recipe of diffusers' examples, on the same task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.recipe import PeerRecipe
from embhub import phantoms
from embhub.diffusion.bases.found import quiet
from embhub.diffusion.families import resolution
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.inversion import Inversion, ResolvedRecipe, default_recipe, encode_images

FINDING, TOKEN, CAPTION = "prostate-cspca", "<cspca>", "prostate mri with {}"

Side = Literal["embhub", "peer"]
SIDES: tuple[Side, Side] = ("embhub", "peer")


class Arm(Protocol):
    """A training that goes step by step."""

    @property
    def rows(self) -> dict[str, Tensor]:
        """The rows so far, (vectors, d) float32 for each encoder."""

    def step(self) -> float:
        """Take a step; its loss."""


@dataclass(frozen=True)
class Task:
    """What both arms are given: `images` (N, 3, H, W) in [-1, 1], and settings that hold for both.

    `caption` has `{}` where the token goes. `first_word` is the peer's initial word, one token. `peer_rate` is the
    peer's learning rate, None for the one that its README documents; `peer_tuned` makes its latents once and lets the
    rate fall on a cosine over `steps`. `bfloat16` is embhub's precision, `peer_bfloat16` the peer's; float32 otherwise.
    """

    images: Tensor
    first_word: str
    batch_size: int
    bfloat16: bool = True
    peer_bfloat16: bool = True
    peer_rate: float | None = None
    peer_tuned: bool = False
    caption: str = CAPTION
    steps: int = 10_000
    seed: int = 0


def draw_images(pipe: Pipeline, count: int, *, seed: int) -> Tensor:
    """`count` phantoms of the held-out finding at the base's resolution, (count, 3, H, W) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    drawn = [phantoms.draw("prostate", phantoms.target_finding(FINDING, rng), rng).image for _ in range(count)]
    pixels = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float() / 127.5 - 1
    side = resolution(pipe)
    return pixels if pixels.shape[-1] == side else F.interpolate(pixels, (side, side), mode="bilinear")


def first_word(pipe: Pipeline) -> str:
    """A word that is one token of this base: the peer starts from it."""
    return "lesion" if len(pipe.tokenizer.encode("lesion", add_special_tokens=False)) == 1 else "l"


@contextmanager
def started(side: Side, pipe: Pipeline, task: Task) -> Iterator[Arm]:
    """One arm, ready for its first step: embhub has made its latents, the peer has grown its table.

    The peer changes `pipe` for good; embhub leaves it as it was.
    """
    recipe = recipe_for(pipe, task)
    if side == "peer":
        with quiet():
            peer = PeerRecipe(
                pipe,
                task.images,
                token=TOKEN,
                caption=task.caption,
                first_word=task.first_word,
                vectors=recipe.num_vectors,
                batch_size=task.batch_size,
                learning_rate=task.peer_rate,
                bfloat16=task.peer_bfloat16,
                cached=task.peer_tuned,
                cosine_steps=task.steps if task.peer_tuned else None,
                seed=task.seed,
            )
        yield peer
        return
    latents = encode_images(pipe, task.images)
    ours = Inversion(pipe, latents, token=TOKEN, caption=task.caption, recipe=recipe, seed=task.seed)
    with ours.active():
        yield ours


def recipe_for(pipe: Pipeline, task: Task) -> ResolvedRecipe:
    """embhub's own settings for this base, with the task's batch, precision and length."""
    return replace(default_recipe(pipe), batch_size=task.batch_size, steps=task.steps, mixed_precision=task.bfloat16)
