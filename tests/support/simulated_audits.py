"""Audits of the standard suite on simulated losses: the product's own attacks and rule, with a leak that is known."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.audits.attack_figures import IN_TURN
from embhub.audits.report import SUITES, Attempt, AuditReport, Design, Group, build
from embhub.diffusion.attacks.in_turn import REFERENCES, attack_in_turn, guess_coins
from embhub.diffusion.attacks.shadows import Shadows

Floats = NDArray[np.float64]
PATIENTS, SHADOWS, DRAWS = 100, 8, 4
UNITS = tuple(map(str, range(PATIENTS)))
_SHARED, _OWN = 0.9, 0.87  # noise of an image in a shadow, and of a draw
_TRAITS = np.random.default_rng(7).normal(size=PATIENTS)


def gains(gain: float, exposed: float) -> Floats:
    """How much each patient's loss falls in a shadow that was trained on her: the first `exposed` of them are."""
    return np.where(np.arange(PATIENTS) < exposed * PATIENTS, gain, 0.0)


def train(
    rng: np.random.Generator, *, gain: float = 0.0, exposed: float = 1.0, effect: float = 1.0
) -> tuple[Shadows, Tensor]:
    """Shadows of 100 patients by fresh coins, and the losses without any.

    An image's mean loss has a noise of 1 in each shadow, and patients differ by `effect`.
    """
    coins = rng.random((REFERENCES + SHADOWS, PATIENTS)) < 0.5
    patients, models = effect * _TRAITS[:, None], 0.1 * rng.normal(size=(len(coins), 1, 1))
    noise = _SHARED * rng.normal(size=(*coins.shape, 1)) + _OWN * rng.normal(size=(*coins.shape, DRAWS))
    losses = 5 + patients + models + noise - (coins * gains(gain, exposed))[..., None]
    without = 5.2 + patients + 0.3 * np.random.default_rng(8).normal(size=(PATIENTS, DRAWS))
    return Shadows(torch.from_numpy(losses), torch.from_numpy(coins)), torch.from_numpy(without)


def expect_losses(*, effect: float, **_: float) -> tuple[Tensor, Floats]:
    """What `train` gives outside, but for what all images share: means (N, D), covariance (D, D) over the draws."""
    mean = 5 + effect * _TRAITS[:, None] + np.zeros((PATIENTS, DRAWS))
    return torch.from_numpy(mean), _SHARED**2 + _OWN**2 * np.eye(DRAWS)


def simulate(seed: int, *, gain: float = 0.0, exposed: float = 1.0, attempt: int = 1) -> AuditReport:
    """A report of 100 patients and 8 shadows, whose losses differ by patient as much as by chance.

    Attacks on the file find nothing but what chance gives.
    """
    rng, side = np.random.default_rng(seed), PATIENTS // 2
    shadows, without = train(rng, gain=gain, exposed=exposed)
    found = attack_in_turn(shadows, without, UNITS)
    scores = {
        name: (item.scores[item.inside].tolist(), item.scores[~item.inside].tolist()) for name, item in found.items()
    }
    for name in (*(name for name in SUITES["standard"] if not name.endswith(IN_TURN)), "blind"):
        scores[name] = (rng.normal(size=side).tolist(), rng.normal(size=side).tolist())
    return build(
        artifact_digest="a" * 64, base_digest=None, suite="standard", scores=scores,
        members=Group(units=side), nonmembers=Group(units=side), guesses=guess_coins(found, seed=seed),
        attempt=Attempt(number=attempt, count=attempt, cohort=attempt),
        design=Design(shadows=SHADOWS, subject="algorithm", split="by patient, held out before training"),
    )  # fmt: skip
