"""Shadows whose references are apart from the targets that are attacked.

Each patient is in half of the references, drawn at random, and in each target by a coin of its own. A target is
compared with the references that never saw the patient.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from embhub.diffusion.attacks.evidence import Evidence
from embhub.diffusion.attacks.losses import score_by_lira
from embhub.diffusion.attacks.shadows import Flips, Shadows


def balance_coins(shadows: int, units: int, *, seed: int) -> Flips:
    """Each unit in half of the references, drawn at random (S, U): never in all, so each has references without it."""
    ranks = np.random.default_rng([seed, 2]).random((shadows, units)).argsort(axis=0)
    return ranks < shadows // 2


def score_apart(references: Shadows, targets: Tensor) -> Tensor:
    """LiRA scores (S, N) of every image against each target, from losses (S, N, D)."""
    return torch.stack([
        score_by_lira(Evidence(losses, losses, references.losses, ~references.inside)) for losses in targets
    ])  # fmt: skip
