"""What either way of training, plain or private, is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.prompts import Prompts
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.ledger.budget import Reservation
from embhub.options.preprocessing import Preprocessing
from embhub.privacy.claim import NONE, Claim
from embhub.privacy.second_opinion import SecondOpinion


@dataclass(frozen=True)
class Task:
    """What is to be learned, and with what; `base` is the digest of the base's fingerprint.

    `prompts` are those of each image that is learned from; None where all have the `caption`.
    """

    pipe: Pipeline
    base: str
    token: str
    caption: str
    recipe: ResolvedRecipe
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    prompts: Prompts | None = None


@dataclass(frozen=True)
class TrainingResult:
    """Rows (vectors, d) float32 on the processor for each encoder, the ledger's entry, and what may be claimed.

    `facts` stand in the file's header beside those of the recipe. A plain training has `losses`, `points` (step, loss)
    on the way, and the mean loss of images kept back `before` and `after`; a private one looks at none of these. Of it
    there is the `second_opinion` on its claim.
    """

    rows: Mapping[str, Tensor]
    reservation: Reservation
    claim: Claim = NONE
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    points: tuple[tuple[int, float], ...] = ()
    before: float | None = None
    after: float | None = None
    second_opinion: SecondOpinion | None = None
