"""What a release claims about privacy: the word "none", or parameters of a mechanism from which epsilon follows.

Pure. Nothing is believed that can be computed: RDP curve, epsilon, sampling rate and denominator are derived again when
a claim is read, wherever it is read (docs/reference/privacy-claim.md). What the parameters cannot show, that the
training ran as they say, rests on the publisher's signature.
"""

from __future__ import annotations

import json
from typing import Any, Literal, Self

import rfc8785
from pydantic import ValidationError, model_validator

from embhub.formats import strict_json
from embhub.formats.validation import explain
from embhub.privacy import epsilon as epsilons
from embhub.privacy import loss_distribution, rdp, wording
from embhub.privacy.choices import Mechanism as Mechanism
from embhub.privacy.choices import Unit as Unit
from embhub.privacy.claim_errors import NONE as NONE
from embhub.privacy.claim_errors import UncheckableClaimError as UncheckableClaimError
from embhub.privacy.claim_errors import UnsupportedClaimError as UnsupportedClaimError
from embhub.privacy.composition import Composition, state
from embhub.privacy.contradictions import contradictions
from embhub.privacy.contradictions import is_round as is_round
from embhub.privacy.contradictions import largest_delta as largest_delta
from embhub.privacy.fields import ALWAYS_UNPROTECTED, MAX_DELTA, Accountant, ClaimFields, Sampling, Unprotected
from embhub.privacy.fields import SCHEMA as SCHEMA
from embhub.privacy.fields import Build as Build
from embhub.privacy.loss_distribution import Mechanism as Parameters
from embhub.privacy.self_test import SelfTest
from embhub.privacy.studies import StudyTerms

MAX_BYTES = 16_000
DEFAULT_DELTA = MAX_DELTA
_SETTINGS = "write the claim with `embhub train --epsilon`; it is not for editing"


class PrivacyClaim(ClaimFields):
    """(epsilon, delta)-differential privacy of one training, with all that is needed to recompute it.

    `n_public` is a declared round lower bound on the number of units, `denominator` the units that a step expects at
    that number, `sigma` the noise multiplier: noise of sigma times clip on the sum. `epsilon` is the smaller of
    `epsilon_rdp` and `epsilon_pld`, which is None where losses give no bound.
    """

    @model_validator(mode="after")
    def _follows_from_its_parameters(self) -> Self:
        if faults := contradictions(self):
            raise ValueError("; ".join(faults))
        return self

    @property
    def is_weak(self) -> bool:
        """Whether the epsilon to judge by is infinite or says next to nothing, at the one delta MAX_DELTA.

        It is the lineage's where that counts more than this training. What the claim states at another delta is
        computed anew at this one, so that no choice of delta makes a claim look stronger.
        """
        return wording.is_large(self.epsilon_to_judge_by, delta=MAX_DELTA)

    def words(self) -> tuple[str, ...]:
        """Plain sentences for somebody who answers for patients: what is promised, and what is not."""
        return wording.sentences(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it stands in headers, cards and statements; a total that lists no trainings stands there
        without an empty list of them, and a claim that states no build or no study without an empty one."""
        data = self.model_dump(mode="json", by_alias=True)
        if data["composition"] is not None and data["composition"].get("mechanisms") is None:
            data["composition"].pop("mechanisms", None)
        return {name: value for name, value in data.items() if value is not None or name not in ("build", "study")}

    def to_text(self) -> str:
        """Canonical JSON (RFC 8785): equal claims are equal bytes."""
        return rfc8785.dumps(self.to_dict()).decode("utf-8")


Claim = PrivacyClaim | Literal["none"]


def build_claim(
    *,
    mechanism: Mechanism,
    unit: Unit,
    max_images_per_unit: int,
    n_public: int,
    batch: int,
    sigma: float,
    clip: float,
    steps: int,
    self_test: SelfTest,
    delta: float = DEFAULT_DELTA,
    tuning_runs: int = 0,
    composition: Composition | None = None,
    build: Build | None = None,
    study: StudyTerms | None = None,
) -> PrivacyClaim:
    """The claim of a training that ran so; everything that follows is computed here.

    Args:
        n_public: declared round lower bound on the number of units.
        batch: units that a step expects were there `n_public` of them; `n_public` for a step that reads all. The
            sampling rate is batch / n_public, and `batch` is what the noisy sum was divided by.
        sigma: noise multiplier.
        steps: steps that were taken, replayed ones included; 1 for dp-agg, the rounds for votes.
        tuning_runs, composition: what the ledger says (`embhub.ledger.budget`); None where there is no ledger.
        build: what ran the training, by its own word; None where nothing is stated.
        study: of which study of several sites it is (`embhub.study.claims.terms`); `sigma` is its noise against those
            who are no site of it, and `steps` are all its attempts.

    Raises:
        UnsupportedClaimError: the parameters support no claim; says which.
    """
    try:
        curve = rdp.gaussian_curve(q=(q := batch / n_public), sigma=sigma, steps=steps)
        found = epsilons.compute(Parameters(q, sigma, steps), delta=delta)
        lineage: tuple[Unprotected, ...] = ("lineage",) if composition else ()
        return PrivacyClaim(
            mechanism=mechanism,
            unit=unit,
            max_images_per_unit=max_images_per_unit,
            n_public=n_public,
            sampling=Sampling(kind="all" if batch == n_public else "poisson", q=q),
            denominator=batch,
            sigma=sigma,
            clip=clip,
            steps=steps,
            delta=delta,
            accountant=Accountant(name=found.name, losses=loss_distribution.GRID),
            epsilon=found.epsilon,
            epsilon_rdp=found.rdp,
            epsilon_pld=found.pld,
            rdp=state(curve),
            tuning_runs=tuning_runs,
            composition=composition,
            unprotected=ALWAYS_UNPROTECTED + lineage,
            self_test=self_test,
            build=build,
            study=study,
        )
    except (ValueError, ArithmeticError) as error:
        fault = explain(error) if isinstance(error, ValidationError) else error
        raise UnsupportedClaimError(f"no privacy claim follows from these parameters: {fault}") from error


def parse_claim(value: Any) -> Claim:
    """Read a claim from plain data: the word "none", or the object of a `PrivacyClaim`.

    Raises:
        UncheckableClaimError: anything else.
        UnsupportedClaimError: a claim that its own parameters do not support; the message says why.
    """
    if isinstance(value, PrivacyClaim):
        return value
    if value == NONE:
        return NONE
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise UncheckableClaimError(
            f"the privacy claim is neither the word none nor a claim {SCHEMA}, which this version cannot recompute",
            "publish with `privacy: none`, or as `embhub train --epsilon` wrote it; a newer embhub may know the form",
        )
    try:
        return PrivacyClaim.model_validate_json(json.dumps(value, allow_nan=False), by_alias=True, by_name=False)
    except ValidationError as error:
        raise UnsupportedClaimError(f"the privacy claim does not hold: {explain(error)}", _SETTINGS) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise UncheckableClaimError(f"the privacy claim cannot be read: {error}", _SETTINGS) from error


def read_claim(text: str) -> Claim:
    """Read a claim as a file's header holds it: `none`, or canonical JSON of at most MAX_BYTES.

    Raises:
        UncheckableClaimError: not a claim, or not canonical.
        UnsupportedClaimError: as `parse_claim`.
    """
    if text == NONE:
        return NONE
    try:
        value = strict_json.read_object(text.encode("utf-8", "surrogatepass"), limit=MAX_BYTES)
    except strict_json.JsonError as error:
        raise UncheckableClaimError(
            f"the privacy claim is neither the word none nor JSON: {error}, so this version cannot recompute it",
            _SETTINGS,
        ) from error
    claim = parse_claim(value)
    if write_claim(claim) != text:
        raise UncheckableClaimError("the privacy claim is not written canonically (RFC 8785)", _SETTINGS)
    return claim


def write_claim(claim: Claim) -> str:
    """A claim as text for a file's header."""
    return claim.to_text() if isinstance(claim, PrivacyClaim) else NONE


def plain(claim: Claim) -> dict[str, Any] | str:
    """A claim as plain data for cards, statements and `--json`."""
    return claim.to_dict() if isinstance(claim, PrivacyClaim) else NONE
