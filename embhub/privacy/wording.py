"""A privacy claim in plain sentences, for a data-protection officer. Where in doubt they say less."""

from __future__ import annotations

import math

from embhub.pages.messages import mark
from embhub.privacy import epsilon as epsilons
from embhub.privacy import rdp
from embhub.privacy.composition import SiteTotal
from embhub.privacy.fields import MAX_DELTA, Build, ClaimFields, Unprotected
from embhub.privacy.mechanisms import Mechanism

FPR = 0.01
ALMOST_SURE = 0.99  # who may be named with so much is hardly protected: epsilon is large from about 4.6 on
_MEANINGLESS = 1000.0
_MECHANISMS = {
    "dp-sgd": "differentially private training (DP-SGD: bounded contributions with noise at every step)",
    "dp-agg": "differentially private aggregation (an embedding for each {unit}, bounded and averaged with noise)",
    "votes": "differentially private evolution (one vote of each {unit} in every round, counted with noise, on"
    " candidates from the base and from earlier noisy counts)",
}
PER_PATIENT = mark(
    "whoever would have named a given patient with probability {rate} % had she not taken part, names her with at most"
    " {most} % if she did"
)
PER_IMAGE = mark(
    "whoever would have named a given image with probability {rate} % had it not been used, names it with at most"
    " {most} % if it was"
)
NO_PROOF = "That is no proof: a changed program can state any digest."
_NOT_COVERED: dict[Unprotected, str] = {
    "base-model": "the base model, which was trained before on images of its own",
    "settings": "the choice of settings (steps, learning rate, bounds, number of vectors, word to start from), where a"
    " person made it by looking at results that this site's ledger does not hold",
    "public-n": "the declared number of {unit}s, and how many images of one patient were used at most",
    "card": "what the card, an audit or a person tells beside the embedding",
    "lineage": "trainings that this site's ledger does not know of, at other sites or before it was opened",
    "release-decision": "the decision to release, where a person made it by looking at what this file draws or at an"
    " audit of these {unit}s",
}


def sentences(claim: ClaimFields) -> tuple[str, ...]:
    """What a claim promises, what it does not, and how it is checked; one statement a sentence or two."""
    return (
        _promise(claim),
        _person(claim),
        *_study(claim),
        "What finding, hospital and years give away by themselves is not bounded.",
        *_size(claim),
        _unit(claim),
        _lineage(claim),
        f"Not covered: {'; '.join(_NOT_COVERED[item].format(unit=claim.unit) for item in claim.unprotected)}.",
        "The figures were recomputed from the stated parameters. That the training ran as stated rests on the"
        f" {'programs of all sites, on the ' if claim.study else ''}publisher's signature and on the publisher's own"
        f" self-test ({claim.self_test.canaries:,} made-up canaries), which passed.",
        *_build(claim),
    )


def short(claim: ClaimFields) -> str:
    """One line for lists: whose word it is, and its figures."""
    return f"claimed by the publisher: {figures_of(claim)}"


def figures_of(claim: ClaimFields) -> str:
    """Epsilon, delta, unit, mechanism, and the larger figure that stands beside it."""
    unit = f"{claim.unit} at one site" if claim.study else claim.unit
    told = f"epsilon {claim.epsilon:g} with delta {claim.delta:g} for each {unit}, by {claim.mechanism}"
    return f"{told}; {added}" if (added := together(claim)) else told


def together(claim: ClaimFields) -> str | None:
    """What stands beside the training's own epsilon where the site's ledger counts more than it, or where several
    sites trained it; else None."""
    if claim.study is not None:
        return f"{claim.study.epsilon_against_sites:g} against any one of the {claim.study.sites} sites that trained it"
    lineage = claim.composition
    if lineage is None or not claim.composition_counts_more:
        return None
    told = []
    if lineage.trainings > 1:
        told.append(f"{lineage.epsilon:g} with all {lineage.trainings:,} of this site's private trainings")
    if lineage.plain:
        told.append(f"{lineage.plain:,} others without any bound")
    return f"{' and '.join(told)}, as of {lineage.as_of}"


def site_total(stated: SiteTotal, *, unit: str) -> str:
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


def describe_build(build: Build) -> str:
    """Version, kind and digest of the build that a claim states."""
    if build.kind == "development":
        return f"a development build of embhub {build.version}, which has no digest"
    changed = ", whose files are not those of its wheel" if build.kind == "changed" else ""
    return f"embhub {build.version} with the digest {build.digest}{changed}"


def total_after(stated: SiteTotal, *, unit: str, delta: float) -> str:
    """What a site's ledger will have counted after a training that is about to begin."""
    one = "this is the site's first private training"
    several = f"for a {unit} in all {stated.trainings:,} private trainings of this site"
    plain = f"; {stated.plain:,} others have no bound" if stated.plain else ""
    counted = one if stated.trainings == 1 else several
    return f"the total after this training is epsilon {stated.epsilon:g} with delta {delta:g}: {counted}{plain}"


def newer_total(stated: SiteTotal, *, unit: str, namespace: str) -> str:
    """What a newer release of the same namespace says of its site, to stand beside an older one."""
    return f"A newer release of {namespace} states more. {site_total(stated, unit=unit)}"


def is_large(epsilon: float, *, delta: float) -> bool:
    """Whether someone who would be named with probability FPR anyway may be named with ALMOST_SURE: hardly a limit."""
    return rdp.largest_tpr(epsilon, delta=delta, fpr=FPR) >= ALMOST_SURE


def per_person(unit: str, rate: str, most: str) -> str:
    """What a guarantee says of one and the same person, taking part or not; never of two groups of people.

    Args:
        unit: `patient` or `image`.
        rate: the chance of being named without taking part, in per cent.
        most: the largest chance after taking part, in per cent.
    """
    return (PER_PATIENT if unit == "patient" else PER_IMAGE).format(rate=rate, most=most)


def person(unit: str, epsilon: float, delta: float) -> str:
    """What an epsilon and a delta say of one person who would have been named with a chance of `FPR` without it."""
    rate = rdp.largest_tpr(epsilon, delta=delta, fpr=FPR)
    return per_person(unit, _per_cent(FPR), _per_cent(rate, up=True))


def odds(chance: float) -> str:
    """A small chance as one in so many, rounded towards the likelier: 1e-5 is 1 in 100,000."""
    return f"1 in {math.floor(1 / chance * (1 + 1e-9)):,}"


def _promise(claim: ClaimFields) -> str:
    return (
        f"Trained with {_MECHANISMS[claim.mechanism].format(unit=claim.unit)}: whether any one"
        f" {claim.unit} took part changes the probability of any outcome by at most a factor of e to the power epsilon"
        f" = {claim.epsilon:g}. Delta = {claim.delta:g} is what this leaves open: a chance of at most"
        f" {odds(claim.delta)}, for each {claim.unit}, for which nothing is promised."
    )


def _person(claim: ClaimFields) -> str:
    told = person(claim.unit, claim.epsilon, claim.delta)
    return f"In other words, whatever else is known, and on average over the chance in training: {told}."


def _study(claim: ClaimFields) -> tuple[str, ...]:
    """Of several sites: against whom each figure holds, and what it does not cover."""
    terms = claim.study
    if terms is None:
        return ()
    most = max(1, terms.colluders)
    who = (
        f"any one of these sites, and against the coordinator with at most {_sites(terms.colluders)}"
        if terms.colluders
        else "any one of these sites that does not work with the coordinator"
    )
    larger = person(claim.unit, terms.epsilon_against_sites, claim.delta)
    return (
        f"{terms.sites} sites trained it together, in the study with the digest {terms.digest}. The epsilon of"
        f" {claim.epsilon:g} holds against everybody who is none of these sites, if every site added its share of the"
        " noise.",
        f"A site knows its own share and can take it off. So for patients of other sites, against {who}, epsilon is"
        f" {terms.epsilon_against_sites:g}: {larger}. That figure also holds for them against everybody else"
        f" if at most {_sites(most)} lied, and added no noise. If more sites lie or work together, neither holds.",
        "A site that lies can spoil what the file draws, and masks hide which site it was. Before a site signs it"
        " looks at the file's loss on images that it held out. That it signs tells one bit about these images, which"
        " no figure covers.",
    )


def _sites(number: int) -> str:
    return "one site" if number == 1 else f"{number} sites"


def _size(claim: ClaimFields) -> tuple[str, ...]:
    if not is_large(epsilons.compose(claim.weakest, delta=MAX_DELTA), delta=MAX_DELTA):
        return ()
    return (f"An epsilon of {claim.largest_epsilon:g} is large: by itself it rules out hardly any attack.",)


def _unit(claim: ClaimFields) -> str:
    if claim.unit == "patient":
        several = claim.max_images_per_unit > 1
        at, twice = "", "Two ids of one person"
        of_two = f"epsilon is {_of_group(claim.parameters, 2, delta=claim.delta)}"
        if claim.study is not None:
            at, twice = " at one site", "Two ids of one person, or one person at two sites,"
            of_two += f". Against another site it is {_of_group(claim.weakest, 2, delta=claim.delta)}"
        return (
            f"What is protected is each patient's whole contribution{at}, of which at most {claim.max_images_per_unit}"
            f" image{'s' if several else ''} a patient {'were' if several else 'was'} used. {twice}"
            f" count as two patients: for both together, as for twins, {of_two}."
        )
    groups = [f"{_of_group(claim.parameters, size, delta=claim.delta)} for {size}" for size in (2, 4, 8)]
    return (
        "What is protected is each image, not each patient: a patient with several images has less protection"
        f" (epsilon {', '.join(groups)} images of one patient)."
    )


def _build(claim: ClaimFields) -> tuple[str, ...]:
    if claim.build is None:
        return ()
    return (f"By its own word the program that trained it was {describe_build(claim.build)}. {NO_PROOF}",)


def _of_group(parameters: tuple[Mechanism, ...], size: int, *, delta: float) -> str:
    epsilon = epsilons.of_group(parameters[0], size=size, delta=delta)
    return f"at most {math.ceil(epsilon * 10) / 10:,.1f}" if epsilon < _MEANINGLESS else "without a useful bound"


def _lineage(claim: ClaimFields) -> str:
    if claim.study is not None:
        return (
            f"Each of these sites counts {claim.study.epsilon_against_sites:g} for its patients in a ledger of its own,"
            f" and all {claim.steps:,} steps that were agreed on. This is the epsilon of this study alone: no ledger"
            " says what all sites spent on the same people, and losses add up."
        )
    lineage = claim.composition
    if lineage is None:
        return (
            "This is the epsilon of this training alone: no ledger says what other trainings on the same"
            f" {claim.unit}s spent, and their losses add up."
        )
    weak = lineage.trainings > 1 and is_large(lineage.epsilon, delta=claim.delta)
    large = " That is large: for such a person it rules out hardly any attack." if weak else ""
    unreleased = f" {claim.tuning_runs:,} of them led to no file." if claim.tuning_runs else ""
    return f"{site_total(lineage, unit=claim.unit)}{unreleased}{large}"


def _per_cent(share: float, *, up: bool = False) -> str:
    scaled = share * 100
    if up:
        scaled = math.ceil(scaled * 10) / 10
    return f"{scaled:.3g}"
