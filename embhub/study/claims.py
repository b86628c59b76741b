"""From a study to the privacy claim of its release, and whether a claim is that of a study. Pure."""

from __future__ import annotations

from embhub.privacy.claim import Build, Claim, PrivacyClaim, build_claim
from embhub.privacy.epsilon import LAST_DIGIT
from embhub.privacy.self_test import SelfTest
from embhub.privacy.studies import StudyTerms
from embhub.study.plan import Study, StudyError


def terms(study: Study) -> StudyTerms:
    """What a claim says of its study."""
    return StudyTerms(
        digest=study.digest, sites=len(study.sites), dropouts=study.dropouts, colluders=study.colluders,
        clip_units=study.clip_units, share_variance=study.share_variance, width=study.width,
        epsilon_against_sites=study.epsilon_against_sites,
    )  # fmt: skip


def claim_of(study: Study, *, self_test: SelfTest, build: Build | None = None) -> PrivacyClaim:
    """The claim of a study's release. Its steps are all attempts, lost ones included: so many are in each ledger.

    Args:
        self_test: of the machine that assembles the file.
        build: what ran there, by its own word.

    Raises:
        UnsupportedClaimError: no claim follows, as from another machine's figures.
    """
    return build_claim(
        mechanism="dp-sgd", unit="patient", max_images_per_unit=study.max_images_per_patient, n_public=study.n_public,
        batch=study.batch, sigma=study.noise.against_outsiders.sigma, clip=study.clip, steps=study.attempts,
        self_test=self_test, delta=study.delta, build=build, study=terms(study),
    )  # fmt: skip


def check_claim(claim: Claim, study: Study) -> None:
    """Whether a claim, which was read and so follows from its own numbers, has the numbers of this study.

    Raises:
        StudyError: the word none, a claim of no study or of another one; says what differs.
    """
    if not isinstance(claim, PrivacyClaim) or claim.study is None:
        raise StudyError("the release makes no privacy claim of a study", "it is not the release of this study")
    stated = claim.study.model_dump() | {
        "n_public": claim.n_public, "batch": claim.denominator, "clip": claim.clip, "attempts": claim.steps,
        "delta": claim.delta, "max_images_per_patient": claim.max_images_per_unit,
        "sigma": claim.sigma,
    }  # fmt: skip
    agreed = terms(study).model_dump() | {
        "n_public": study.n_public, "batch": study.batch, "clip": study.clip, "attempts": study.attempts,
        "delta": study.delta, "max_images_per_patient": study.max_images_per_patient,
        "sigma": study.noise.against_outsiders.sigma,
    }  # fmt: skip
    differing = [name for name, value in agreed.items() if stated[name] != value]
    if abs(claim.epsilon - study.epsilon) > LAST_DIGIT:  # both hold: another machine may have rounded one up
        differing.append("epsilon")
    if differing:
        name = differing[0]
        values = f": {stated[name]} and {agreed[name]}" if name in agreed else ""
        raise StudyError(f"claim and study differ in {', '.join(differing)}{values}", "do not use or sign this file")
