"""What a training of a compact adapter gives, with a privacy claim or without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from embhub.ledger.budget import Reservation
from embhub.options.adapter import AdapterRecipe
from embhub.privacy.claim import NONE, Claim
from embhub.privacy.second_opinion import SecondOpinion


@dataclass(frozen=True)
class LearnedAdapter:
    """An adapter's matrices, the recipe with everything filled in, what its header says of the training, and the
    ledger's entry. A training without privacy has losses, a private one a claim and the second opinion on it."""

    matrices: Mapping[str, NDArray[Any]]
    recipe: AdapterRecipe
    facts: Mapping[str, str | int | float]
    reservation: Reservation
    claim: Claim = NONE
    second_opinion: SecondOpinion | None = None
    losses: tuple[float, ...] = ()
    before: float | None = None
    after: float | None = None
