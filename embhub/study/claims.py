"""Whether a privacy claim is that of a study's document."""

from __future__ import annotations

from typing import Any

from embhub.privacy.claim import PrivacyClaim
from embhub.study.plan import Study, StudyError


def terms_of(claim: object) -> Any:
    """What a claim says of its study, a `StudyTerms`; None where it is of none."""
    return getattr(claim, "study", None)


def check_claim(claim: PrivacyClaim, study: Study) -> None:
    """Refuse a claim that is not this study's.

    Raises:
        StudyError: another digest, or a number that is not the study's.
    """
    terms, noise = terms_of(claim), study.noise
    if terms is None or terms.digest != study.digest:
        raise StudyError("the claim is of another study")
    pairs = {
        "n_public": (claim.n_public, study.n_public), "batch": (claim.batch, study.batch),
        "steps": (claim.steps, study.attempts), "clip": (claim.clip, study.clip), "delta": (claim.delta, study.delta),
        "max_images_per_unit": (claim.max_images_per_unit, study.max_images_per_patient),
        **{name: (getattr(terms, name), getattr(noise, name))
           for name in ("sites", "dropouts", "colluders", "clip_units", "share_variance", "width")},
        "epsilon_against_sites": (terms.epsilon_against_sites, study.epsilon_against_sites),
    }  # fmt: skip
    if wrong := [name for name, (claimed, planned) in pairs.items() if claimed != planned]:
        raise StudyError(f"the claim does not have the study's {', '.join(wrong)}")
