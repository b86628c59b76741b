"""Shadow embeddings or adapters: the same recipe on coin-flip halves of the patients, so that it is known what
membership does.

Every patient is in or out of each shadow by a coin of its own. The attack is tried on each shadow in turn, with all the
others as references. The references are used whoever they were trained on: so no score depends on a coin, and if
nothing leaks, every assignment of the coins is equally likely given the scores. The scores pooled over the shadows
audit the algorithm, with many more units than one embedding has. The cost is one training a shadow, and a quarter of
one for measuring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.diffusion.attacks.evidence import Draws, Evidence
from embhub.diffusion.attacks.losses import score_by_lira
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.inversion import ResolvedRecipe
from embhub.diffusion.training.prompts import Prompts
from embhub.options.adapter import AdapterRecipe

SHADOWS = 8
Flips = NDArray[np.bool_]


@dataclass(frozen=True)
class Private:
    """What was asked for, and the mechanism of the claim: clipping, noise and sampling of the file's own training."""

    protection: Protection
    mechanism: Mechanism


@dataclass(frozen=True)
class Setting:
    """What every shadow shares with the audited embedding: base, images as `latents` (N, C, h, w), caption, recipe.

    `units` says whose each image is. `private` is how it was trained, if with differential privacy: so are its shadows.
    `prompts` are those of each image, where there are captions. With `adapter`, shadows are compact adapters, and of
    `recipe` a private training alone takes more than the number of steps.
    """

    pipe: Pipeline
    latents: Tensor
    units: tuple[str, ...]
    caption: str
    token: str
    recipe: ResolvedRecipe
    draws: Draws
    private: Private | None = None
    prompts: Prompts | None = None
    adapter: AdapterRecipe | None = None

    def expand(self, flips: Flips) -> Tensor:
        """From coins by unit (S, U), units in the order of their first image, to coins by image (S, N)."""
        order = {unit: index for index, unit in enumerate(dict.fromkeys(self.units))}
        return torch.from_numpy(flips[:, [order[unit] for unit in self.units]])


@dataclass(frozen=True)
class Shadows:
    """Losses (S, N, D) of trained shadows, which images (S, N) each was trained on, and what each learned.

    `rows` are each shadow's vectors (K, d) of each encoder, which stay at the site; of adapters there are none.
    """

    losses: Tensor
    inside: Tensor
    rows: tuple[Mapping[str, Tensor], ...] = ()


def flip_coins(shadows: int, units: int, *, seed: int) -> Flips:
    """Independent fair coins (S, U)."""
    return np.random.default_rng([seed, 1]).random((shadows, units)) < 0.5


def score_in_turn(losses: Tensor) -> Tensor:
    """LiRA scores (S, N) of every image against each shadow, from losses (S, N, D), with the others as references.

    Nothing here knows a coin. References that saw the image stand beside those that did not, which costs little power:
    there are twice as many of them.

    Raises:
        ValueError: fewer than two shadows.
    """
    if len(losses) < 2:
        raise ValueError("shadows are compared with each other: two or more are needed")
    scores = []
    for number, own in enumerate(losses):
        others = losses[torch.arange(len(losses)) != number]
        scores.append(score_by_lira(Evidence(own, own, others, torch.ones(others.shape[:2], dtype=torch.bool))))
    return torch.stack(scores)
