"""Every attack on each shadow in turn: the labels are coins that the audit tossed, so their order may be published.

A few shadows are trained first and not attacked. Most attacks compare a shadow with all the others, whoever was in
them. Online LiRA and dataset inference ask who was in the references, and so compare with those first few alone. So no
score depends on a coin that is attacked: without a leak every assignment of these coins is equally likely given all
scores of all attacks. (With all others as references each coin would enter the scores of all others: dataset inference
then called coins a leak at 2.5 % in 9 of 120 simulations.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.audits.attack_figures import IN_TURN
from embhub.audits.guesses import Guesses, write_guesses
from embhub.audits.statistics import average_by_unit
from embhub.diffusion.attacks import THOROUGH
from embhub.diffusion.attacks.evidence import Attack, Evidence, Suspect
from embhub.diffusion.attacks.losses import score_by_difference, score_by_lira, score_by_loss
from embhub.diffusion.attacks.references import (
    score_by_dataset_inference,
    score_by_online_lira,
    score_by_relative_likelihood,
)
from embhub.diffusion.attacks.shadows import Shadows

_BLIND_TO_COINS: Mapping[str, Attack] = {
    "lira": score_by_lira,
    "loss-difference": score_by_difference,
    "loss": score_by_loss,
    "rmia": score_by_relative_likelihood,
}
_ASKING_WHO_WAS_IN: Mapping[str, Attack] = {
    "lira-online": score_by_online_lira,
    "dataset-inference": score_by_dataset_inference,
}
REFERENCES = 4
"""Shadows that are trained first and not attacked; dataset inference needs three references or more."""


class InTurn(NamedTuple):
    """Scores (S, U) of each unit against the S shadows that are attacked, and which units were in them."""

    scores: NDArray[np.float64]
    inside: NDArray[np.bool_]


def attack_in_turn(
    shadows: Shadows, without: Tensor, units: tuple[str, ...], *, suspect: Suspect | None = None
) -> dict[str, InTurn]:
    """Every attack on losses and, with `suspect`, every other one, on each shadow in turn.

    Args:
        shadows: the first `REFERENCES` are references only, and there is one more at least.
        without: losses (N, D) with the caption's other words alone.
        units: whose each of the N images is; scores of a unit's images are averaged.
        suspect: the audited embedding, whose vectors are replaced by each shadow's.

    Returns:
        By the name that a report gives to an attack on shadows.
    """
    found = {name: score_attacked(name, shadows, without) for name in (*_BLIND_TO_COINS, *_ASKING_WHO_WAS_IN)}
    if suspect is not None:
        asking = {name: attack for name, attack in THOROUGH.items() if name not in found}
        for name, attack in asking.items():
            found[name] = [
                attack(Evidence(shadows.losses[number], without, suspect=replace(suspect, rows=shadows.rows[number])))
                for number in _attacked(shadows)
            ]
    inside = _by_unit(shadows.inside[REFERENCES:].double(), units) > 0.5
    results = {}
    for name, images in found.items():
        scores = _by_unit(torch.stack(images), units)
        # A shadow that draws everything a little better shifts all its scores; the mean needs no label.
        results[f"{name}{IN_TURN}"] = InTurn(scores - scores.mean(1, keepdims=True), inside)
    return results


def score_attacked(name: str, shadows: Shadows, without: Tensor) -> list[Tensor]:
    """Scores (N,) of every image against each attacked shadow, by an attack on losses."""
    if name in _BLIND_TO_COINS:
        return list(_blind_to_coins(_BLIND_TO_COINS[name], shadows, without))
    return list(_asking_who_was_in(_ASKING_WHO_WAS_IN[name], shadows, without))


def guess_coins(found: Mapping[str, InTurn], *, seed: int) -> Guesses:
    """What each attack guesses of each coin: in, where the score is above the median of the unit's own scores.

    What a unit's images add to all its scores, or multiply them by, changes no guess. The coins are shuffled: what is
    published does not say which of them are one unit's.
    """
    coins = next(iter(found.values())).inside
    order = np.random.default_rng([seed, 4]).permutation(coins.size)
    told = {name: scores > np.median(scores, axis=0) for name, (scores, _) in found.items()}
    return write_guesses(coins.ravel()[order], {name: guessed.ravel()[order] for name, guessed in told.items()})


def _attacked(shadows: Shadows) -> range:
    return range(REFERENCES, len(shadows.losses))


def _blind_to_coins(attack: Attack, shadows: Shadows, without: Tensor) -> Iterator[Tensor]:
    for number in _attacked(shadows):
        others = shadows.losses[torch.arange(len(shadows.losses)) != number]
        everybody = torch.ones(others.shape[:2], dtype=torch.bool)
        yield attack(Evidence(shadows.losses[number], without, others, everybody))


def _asking_who_was_in(attack: Attack, shadows: Shadows, without: Tensor) -> Iterator[Tensor]:
    references, unseen = shadows.losses[:REFERENCES], ~shadows.inside[:REFERENCES]
    for number in _attacked(shadows):
        try:
            yield attack(Evidence(shadows.losses[number], without, references, unseen))
        except ValueError:  # of few patients, these references may all have seen an image, or none of them have
            yield torch.zeros(len(without), dtype=torch.float64)


def _by_unit(images: Tensor, units: tuple[str, ...]) -> NDArray[np.float64]:
    """Means (S, U) over each unit's images, of (S, N); units in the order of their first image."""
    return np.stack([average_by_unit(row.numpy(), units)[1] for row in images])
