"""Shadow embeddings: the same recipe on coin-flip halves of the patients, so that it is known what membership does.

References (each patient in half of them) say how well an image is drawn by embeddings that never saw its patient.
Targets (every patient in or out by a coin of its own) are what the attack is tried on. Since the coins of the targets
are independent and known only to us, the scores pooled over the targets audit the algorithm, with many more units than
one embedding has. The cost is one training a shadow; measuring adds about a tenth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.audits.statistics import average_by_unit
from embhub.diffusion.attacks.evidence import Draws, Evidence
from embhub.diffusion.attacks.losses import score_by_lira
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.inversion import ResolvedRecipe
from embhub.diffusion.training.prompts import Prompts

REFERENCES = TARGETS = 8
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
    `prompts` are those of each image, where there are captions.
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

    def expand(self, flips: Flips) -> Tensor:
        """From coins by unit (S, U), units in the order of their first image, to coins by image (S, N)."""
        order = {unit: index for index, unit in enumerate(dict.fromkeys(self.units))}
        return torch.from_numpy(flips[:, [order[unit] for unit in self.units]])


@dataclass(frozen=True)
class Shadows:
    """Losses (S, N, D) of trained shadows, and which images (S, N) each was trained on."""

    losses: Tensor
    inside: Tensor


@dataclass(frozen=True)
class Pooled:
    """Scores pooled over the targets, and whose they are, for units inside and outside each target's half."""

    members: list[float]
    nonmembers: list[float]
    member_units: list[str]
    nonmember_units: list[str]


def flip_coins(shadows: int, units: int, *, seed: int) -> Flips:
    """Independent fair coins (S, U) for the targets."""
    return np.random.default_rng([seed, 1]).random((shadows, units)) < 0.5


def balance_coins(shadows: int, units: int, *, seed: int) -> Flips:
    """Each unit in half of the references, drawn at random (S, U): never in all, so each has references without it."""
    ranks = np.random.default_rng([seed, 2]).random((shadows, units)).argsort(axis=0)
    return ranks < shadows // 2


def join(references: Shadows, targets: Shadows) -> Shadows:
    """All shadows as references of the audited file: whom the targets were trained on, no label of the file tells."""
    return Shadows(torch.cat([references.losses, targets.losses]), torch.cat([references.inside, targets.inside]))


def pool(setting: Setting, references: Shadows, targets: Shadows) -> Pooled:
    """LiRA scores of every unit against every target, on one scale.

    A target that draws everything a little better shifts all its scores; its mean is taken off, which needs no label.
    """
    pooled = Pooled([], [], [], [])
    for losses, inside in zip(targets.losses, targets.inside, strict=True):
        scores = score_by_lira(Evidence(losses, losses, references.losses, ~references.inside))
        names, means = average_by_unit(scores.numpy(), setting.units)
        member_of = dict(zip(setting.units, inside.tolist(), strict=True))
        for name, value in zip(names, means - means.mean(), strict=True):
            unit = str(name)
            (pooled.members if member_of[unit] else pooled.nonmembers).append(float(value))
            (pooled.member_units if member_of[unit] else pooled.nonmember_units).append(unit)
    return pooled
