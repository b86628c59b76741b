"""The fields of a privacy claim, and what follows from them by arithmetic alone.

`embhub.privacy.claim.PrivacyClaim` is the same with the check that the figures follow from the parameters.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from embhub.privacy import epsilon as epsilons
from embhub.privacy import rdp as curves
from embhub.privacy.choices import LARGEST_SIGMA, SMALLEST_SIGMA, Mechanism, Unit
from embhub.privacy.composition import Composition, Positive, StatedCurve
from embhub.privacy.loss_distribution import Mechanism as Parameters
from embhub.privacy.rdp import Curve
from embhub.privacy.self_test import SelfTest
from embhub.privacy.studies import StudyTerms

SCHEMA: Final = "embhub.privacy/2"
Unprotected = Literal["base-model", "settings", "public-n", "card", "lineage", "release-decision"]

MAX_DELTA = 1e-5
"""The largest delta of a claim: the chance that epsilon does not hold for a patient."""
ALWAYS_UNPROTECTED: tuple[Unprotected, ...] = ("base-model", "settings", "public-n", "card", "release-decision")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, defer_build=True)


class Sampling(_Part):
    """How a step chooses its units: each with probability `q`, independently, or all of them (`q` 1)."""

    kind: Literal["poisson", "all"]
    q: Annotated[float, Field(gt=0.0, le=1.0)]
    truncation: Literal["none"] = "none"  # a cap on batches would need accounting of its own


class Accountant(_Part):
    """Which arithmetic the figures follow; `name` tells whose figure `epsilon` is.

    `rdp`: Rényi differential privacy on the orders of `grid`. `pld`: a privacy-loss distribution on the grid `losses`.
    `gaussian`: the exact formula, where every step reads all units. Approximations by the central limit are none.
    """

    name: epsilons.Name = "rdp"
    grid: Literal["embhub-orders/1"] = "embhub-orders/1"
    conversion: Literal["canonne-2020"] = "canonne-2020"
    losses: Literal["embhub-losses/1"]


class Build(_Part):
    """Which build of embhub the training says that it ran: the publisher's word, as `embhub.site.builds` found it.

    `digest` is that of the installed files; None for `development`, which no wheel brought.
    """

    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+!_-]{0,63}$")]
    kind: Literal["wheel", "changed", "development"]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None


class ClaimFields(_Part):
    """(epsilon, delta)-differential privacy of one training, with all that is needed to recompute it.

    `n_public` is a declared round lower bound on the number of units, `denominator` the units that a step expects at
    that number, `sigma` the noise multiplier: noise of sigma times clip on the sum. `epsilon` is the smaller of
    `epsilon_rdp` and `epsilon_pld`, which is None where losses give no bound. Of a study of several sites these figures
    are against those who are no site of it, and `study` has the larger one.
    """

    schema_: Literal["embhub.privacy/2"] = Field(default=SCHEMA, alias="schema")
    mechanism: Mechanism
    unit: Unit
    max_images_per_unit: Annotated[int, Field(ge=1, le=100_000)]
    adjacency: Literal["add-remove"] = "add-remove"
    n_public: Annotated[int, Field(ge=10, le=1_000_000_000)]
    sampling: Sampling
    denominator: Annotated[int, Field(ge=1, le=1_000_000_000)]
    sigma: Annotated[float, Field(ge=SMALLEST_SIGMA, le=LARGEST_SIGMA, allow_inf_nan=False)]
    clip: Positive
    steps: Annotated[int, Field(ge=1, le=10_000_000)]
    delta: Annotated[float, Field(gt=0.0, lt=1.0)]
    accountant: Accountant
    epsilon: Positive
    epsilon_rdp: Positive
    epsilon_pld: Positive | None = None
    rdp: StatedCurve
    released: Literal["final-rows"] = "final-rows"
    rng: Literal["os-entropy"] = "os-entropy"
    tuning_runs: Annotated[int, Field(ge=0, le=1_000_000)]
    composition: Composition | None
    unprotected: tuple[Unprotected, ...]
    self_test: SelfTest
    build: Build | None = None
    study: StudyTerms | None = None

    @property
    def curve(self) -> Curve:
        """RDP of this training on the grid, recomputed."""
        return curves.gaussian_curve(q=self.sampling.q, sigma=self.sigma, steps=self.steps)

    @property
    def parameters(self) -> tuple[Parameters, ...]:
        """Sampling rate, noise multiplier and steps, as `embhub.privacy.epsilon` takes them."""
        return (Parameters(self.sampling.q, self.sigma, self.steps),)

    @property
    def weakest(self) -> tuple[Parameters, ...]:
        """`parameters`; of a study, those against its own sites, for patients of other sites.

        Raises:
            ValueError: terms that no study has.
        """
        if self.study is None:
            return self.parameters
        return (self.study.noise(q=self.sampling.q, steps=self.steps).against_sites,)

    @property
    def largest_epsilon(self) -> float:
        """Epsilon of this training at its delta; of a study, the larger of its two figures."""
        return self.epsilon if self.study is None else max(self.epsilon, self.study.epsilon_against_sites)

    @property
    def composition_counts_more(self) -> bool:
        """Whether the site's ledger counts more than this training alone."""
        lineage = self.composition
        return lineage is not None and (lineage.trainings > 1 or lineage.plain > 0)

    @property
    def epsilon_to_judge_by(self) -> float:
        """Epsilon at the one delta MAX_DELTA, of all that the ledger counted where that is more than this training.

        Of a study it is the larger of its two figures.
        """
        alone, lineage = epsilons.compose(self.weakest, delta=MAX_DELTA), self.composition
        if lineage is None or not self.composition_counts_more:
            return alone
        return max(alone, lineage.epsilon_at(MAX_DELTA))
