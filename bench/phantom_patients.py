"""Patients for studies of leaks: phantoms of one image each, and embeddings of those whom a coin chose."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from bases.workshop.counting import tensor
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import batched
from embhub.diffusion.training.inversion import ResolvedRecipe
from embhub.phantoms import draw as draw_phantom
from embhub.phantoms import random_shape

CAPTION, TOKEN = "prostate mri, {}", "<bench>"


def patients(count: int, seed: int) -> Tensor:
    """Phantom prostates of all kinds of findings, an image each: membership is a matter of place alone."""
    generator = np.random.default_rng([7, seed])
    images = [draw_phantom("prostate", random_shape("prostate", generator), generator).image for _ in range(count)]
    return tensor(np.stack(images))


def train(
    pipe: Pipeline, latents: Tensor, coins: Tensor, recipe: ResolvedRecipe, *, seed: int
) -> list[Mapping[str, Tensor]]:
    """One embedding a row of `coins` (S, N)."""
    jobs = [(latents[chosen], seed + place) for place, chosen in enumerate(coins)]
    return [
        fit.rows
        for shared in batched.group(len(jobs), recipe)
        for fit in batched.fit_many(
            pipe, [jobs[place] for place in shared], token=TOKEN, caption=CAPTION, recipe=recipe
        )
    ]
