"""The patients who are most exposed, for the site alone: nothing of this is written to a report or leaves.

An audit's figures are averages, and averages clear what a few patients lose (Aerni, Zhang and Tramèr 2024, arXiv
2404.17399). Here each patient stands for herself, by the site's own name for her.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from embhub.diffusion.attacks.in_turn import InTurn
from embhub.errors import PrivacyError

MOST = 10


class Exposed(NamedTuple):
    """A patient (or an image, where there are no patients) and how exposed she is.

    `excess` is how far her score lies above the mean of those trained on, in standard deviations of those not.
    """

    name: str
    excess: float


OnExposed = Callable[[tuple[Exposed, ...]], None]


def rank_members(members: Mapping[str, float], nonmembers: Sequence[float]) -> tuple[Exposed, ...]:
    """Every member with her excess, the most exposed first.

    Args:
        members: attack score of each member; higher is more member-like.
        nonmembers: scores of those kept back, which say how much scores vary without a leak.
    """
    scores = np.array(list(members.values()), dtype=np.float64)
    spread = float(np.std(np.asarray(nonmembers, dtype=np.float64), ddof=1)) if len(nonmembers) > 1 else 0.0
    spread = spread or float(np.std(scores)) or 1.0
    found = [Exposed(name, float((score - scores.mean()) / spread)) for name, score in members.items()]
    return tuple(sorted(found, key=lambda item: -item.excess))


def rank_pooled(found: InTurn, names: Sequence[str]) -> tuple[Exposed, ...]:
    """The same from shadows: how much more member-like a patient scores under trainings with her than without her.

    A patient who was in all of the trainings, or in none, has no such difference and is left out.
    """
    gains: dict[str, float] = {}
    noise: list[float] = []
    for name, scores, inside in zip(names, found.scores.T, found.inside.T, strict=True):
        without = scores[~inside]
        noise += (without - without.mean()).tolist() if len(without) else []
        if len(without) and inside.any():
            gains[name] = float(scores[inside].mean() - without.mean())
    return rank_members(gains, noise)


def check_limit(ranked: Sequence[Exposed], limit: float) -> None:
    """The gate on the most exposed.

    Raises:
        PrivacyError: somebody exceeds the mean by more than `limit` standard deviations; says how many, not who.
    """
    over = sum(item.excess > limit for item in ranked)
    if over:
        raise PrivacyError(
            f"{over} of those trained on exceed the mean exposure by more than {limit:g} standard deviations",
            "look at their images, leave them out or train with --epsilon, then audit again",
        )
