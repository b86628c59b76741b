"""A privacy claim in plain sentences, for a data-protection officer. Where in doubt they say less."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from embhub.accounting import curves
from embhub.accounting.composition import CohortComposition, Composition

if TYPE_CHECKING:
    from embhub.privacy import PrivacyClaim

FPR = 0.01
ALMOST_ALL = 0.99  # who finds so many of the members is hardly limited: epsilon is large from about 4.6 on
_MEANINGLESS = 1000.0
_ROUNDING = 1e-4  # curves and epsilons are published rounded up: so little is no other training
_MECHANISMS = {
    "dp-sgd": "differentially private training (DP-SGD: bounded contributions with noise at every step)",
    "dp-agg": "differentially private aggregation (an embedding for each {unit}, bounded and averaged with noise)",
}
_NOT_COVERED = {
    "base-model": "the base model, which was trained before on images of its own",
    "settings": "the choice of settings (steps, learning rate, bounds, number of vectors, word to start from), where a"
    " person made it by looking at results that this site's ledger does not hold",
    "public-n": "the declared number of {unit}s, and how many images of one patient were used at most",
    "card": "what the card, an audit or a person tells beside the embedding",
    "lineage": "trainings that this site's ledger does not know of, at other sites or before it was opened",
}


def sentences(claim: PrivacyClaim) -> tuple[str, ...]:
    """What a claim promises, what it does not, and how it is checked; one statement a sentence or two."""
    return (
        _promise(claim),
        _attacker(claim),
        *_size(claim),
        _unit(claim),
        _lineage(claim),
        f"Not covered: {'; '.join(_NOT_COVERED[item].format(unit=claim.unit) for item in claim.unprotected)}.",
        "The figures were recomputed from the stated parameters. That the training ran as stated rests on the"
        f" publisher's signature and on the publisher's own self-test ({claim.self_test.canaries:,} made-up canaries),"
        " which passed.",
    )


def short(claim: PrivacyClaim) -> str:
    """One line: unit, epsilon, delta, mechanism, and what the ledger adds."""
    told = f"epsilon {claim.epsilon:g} with delta {claim.delta:g} for each {claim.unit}, by {claim.mechanism}"
    return f"{told}; {added}" if (added := together(claim)) else told


def together(claim: PrivacyClaim) -> str | None:
    """What stands beside the training's own epsilon where the site's ledger counts more than it; else None."""
    lineage = claim.composition
    if lineage is None:
        return None
    if isinstance(lineage, CohortComposition):
        if lineage.epsilon is None:
            return "no bound with this site's other trainings"
        if lineage.epsilon <= claim.epsilon * (1 + _ROUNDING) + _ROUNDING:
            return None
        return f"{lineage.epsilon:g} with this site's other trainings"
    told = []
    if lineage.trainings > 1:
        told.append(f"{lineage.epsilon:g} with all {lineage.trainings:,} of this site's private trainings")
    if lineage.plain:
        told.append(f"{lineage.plain:,} others without any bound")
    return f"{' and '.join(told)}, as of {lineage.as_of}" if told else None


def site_total(stated: Composition, *, unit: str) -> str:
    """What a site's ledger had counted by a day, in a few sentences."""
    if stated.trainings == 1:
        counted = f"As of {stated.as_of} this is the first private training that the site's own ledger knows of."
    else:
        counted = (
            f"As of {stated.as_of}, by the site's own ledger, its {stated.trainings:,} private trainings come to"
            f" epsilon {stated.epsilon:g} together, for a {unit} who was in every one of them."
        )
    plain = "No training or published audit without such a bound is in it."
    if stated.plain:
        plain = (
            f"For whoever was in one of {stated.plain:,} other trainings or published audits of the site, nothing is"
            f" bounded: they had no differential privacy for {unit}s."
        )
    return f"{counted} {plain} The ledger was opened on {stated.since} and knows of nothing before that day."


def is_large(epsilon: float, *, delta: float) -> bool:
    """Whether an attacker wrong about FPR of the others may find ALMOST_ALL of the members: hardly any limit."""
    return curves.largest_tpr(epsilon, delta=delta, fpr=FPR) >= ALMOST_ALL


def _promise(claim: PrivacyClaim) -> str:
    return (
        f"Trained with {_MECHANISMS[claim.mechanism].format(unit=claim.unit)}: whether any one"
        f" {claim.unit} took part changes the probability of any outcome by at most a factor of e to the power epsilon"
        f" = {claim.epsilon:g}, up to delta = {claim.delta:g}."
    )


def _attacker(claim: PrivacyClaim) -> str:
    rate = curves.largest_tpr(claim.epsilon, delta=claim.delta, fpr=FPR)
    whom = "a person's images were" if claim.unit == "patient" else "an image was"
    return (
        f"In other words, on average over the chance in training: whoever guesses from this embedding alone whether"
        f" {whom} in the training, and is wrong about"
        f" {_per_cent(FPR)} of those that were not, finds at most {_per_cent(rate, up=True)} of those that were."
    )


def _size(claim: PrivacyClaim) -> tuple[str, ...]:
    if not is_large(claim.epsilon, delta=claim.delta):
        return ()
    return (f"An epsilon of {claim.epsilon:g} is large: by itself it rules out hardly any attack.",)


def _unit(claim: PrivacyClaim) -> str:
    if claim.unit == "patient":
        return (
            f"What is protected is each patient's whole contribution, of which at most {claim.max_images_per_unit}"
            f" image{'s' if claim.max_images_per_unit > 1 else ''} a patient"
            f" {'were' if claim.max_images_per_unit > 1 else 'was'} used. Two records of one person count as two"
            " patients."
        )
    groups = []
    for size in (2, 4, 8):
        epsilon = curves.group_epsilon(claim.curve, size=size, delta=claim.delta)
        shown = f"at most {math.ceil(epsilon * 10) / 10:,.1f}" if epsilon < _MEANINGLESS else "without a useful bound"
        groups.append(f"{shown} for {size}")
    return (
        "What is protected is each image, not each patient: a patient with several images has less protection"
        f" (epsilon {', '.join(groups)} images of one patient, by general bounds)."
    )


def _lineage(claim: PrivacyClaim) -> str:
    lineage = claim.composition
    if lineage is None:
        return (
            "This is the epsilon of this training alone: no ledger says what other trainings on the same"
            f" {claim.unit}s spent, and their losses add up."
        )
    if isinstance(lineage, CohortComposition):
        return _of_the_cohort(claim, lineage)
    weak = lineage.trainings > 1 and is_large(lineage.epsilon, delta=claim.delta)
    large = " That is large: for such a person it rules out hardly any attack." if weak else ""
    unreleased = f" {claim.tuning_runs:,} of them led to no file." if claim.tuning_runs else ""
    return f"{site_total(lineage, unit=claim.unit)}{unreleased}{large}"


def _of_the_cohort(claim: PrivacyClaim, lineage: CohortComposition) -> str:
    """Claims of the first form: what they say of one cohort, without a date."""
    if lineage.epsilon is None:
        return (
            "No bound holds for all that this site made together: the site's ledger has a training without"
            f" differential privacy on some of the same {claim.unit}s."
        )
    if lineage.trainings == 1:
        return f"By the site's own ledger, undated, no earlier training on these {claim.unit}s was known."
    weak = is_large(lineage.epsilon, delta=claim.delta)
    large = ", and it is large: it rules out hardly any attack" if weak else ""
    return (
        f"By the site's own ledger, undated, some of these {claim.unit}s were in {lineage.trainings} trainings with"
        f" this one: together they come to epsilon {lineage.epsilon:g}{large}."
    )


def _per_cent(share: float, *, up: bool = False) -> str:
    scaled = share * 100
    if up:
        scaled = math.ceil(scaled * 10) / 10
    return f"{scaled:.3g} %"
