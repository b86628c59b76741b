"""What in a privacy claim does not follow from its own parameters. `embhub.privacy.claim` asks whenever it reads
one."""

from __future__ import annotations

import re

from embhub.privacy import epsilon as epsilons
from embhub.privacy import loss_distribution, rdp
from embhub.privacy.choices import CANDIDATES
from embhub.privacy.composition import Composition
from embhub.privacy.fields import ALWAYS_UNPROTECTED, MAX_DELTA, ClaimFields
from embhub.privacy.mechanisms import Mechanism as Parameters
from embhub.privacy.rdp import Curve
from embhub.privacy.self_test import find_implausible

_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")


def contradictions(claim: ClaimFields) -> list[str]:
    """What in a claim does not follow from its parameters; empty for one that holds."""
    found: list[str] = []
    if claim.unit == "image" and claim.max_images_per_unit != 1:
        found.append("an image is one image: max_images_per_unit is 1 where the unit is the image")
    if not is_round(claim.n_public):
        found.append(f"n_public {claim.n_public} is not round: it would tell the exact number")
    if claim.denominator > claim.n_public or claim.sampling.q != claim.denominator / claim.n_public:
        found.append(f"sampling.q {claim.sampling.q:g} is not denominator {claim.denominator} / n_public")
    if (claim.sampling.kind == "all") != (claim.denominator == claim.n_public):
        found.append("sampling is `all` exactly where the denominator is n_public")
    if claim.mechanism == "dp-agg" and claim.steps != 1:
        found.append("dp-agg reads the patients once: steps is 1")
    if claim.mechanism == "votes" and (claim.sampling.kind, claim.clip) != ("all", 1.0):
        found.append("in votes every unit has one vote a round: sampling is `all` and clip is 1")
    if claim.mechanism == "votes" and not _tried_votes(claim):
        fewest, most = CANDIDATES
        found.append(f"self_test.own_width of votes is there, with from {fewest} to {most} candidates as its dimension")
    if claim.tuning_runs and (claim.composition is None or claim.tuning_runs >= claim.composition.trainings):
        found.append("tuning_runs are counted by the ledger: composition covers them and this training")
    if claim.build is not None and (claim.build.digest is None) != (claim.build.kind == "development"):
        found.append("build.digest is null exactly where kind is development")
    if fault := _delta_fault(claim):
        found.append(fault)
    if set(ALWAYS_UNPROTECTED) - set(claim.unprotected) or len(set(claim.unprotected)) < len(claim.unprotected):
        found.append(f"unprotected lists {', '.join(ALWAYS_UNPROTECTED)} in any case, each once")
    if (claim.composition is not None) != ("lineage" in claim.unprotected):
        found.append("unprotected lists the lineage exactly where composition tells of it")
    sampled = claim.sampling.kind == "poisson"
    found += find_implausible(claim.self_test, epsilon=claim.epsilon, delta=claim.delta, sampled=sampled)
    return found + _study_faults(claim) + _wrong_figures(claim)


def largest_delta(n_public: int) -> float:
    """The largest delta of a claim about so many declared units: MAX_DELTA, and at most a tenth of one unit."""
    return min(MAX_DELTA, 1 / (10 * n_public))


def is_round(number: int) -> bool:
    """Whether a declared number tells no more than an order of size: a multiple of 5 below 100, else two digits."""
    if number < 100:
        return number >= 10 and number % 5 == 0
    return len(str(number).rstrip("0")) <= 2


def is_declared(number: object, *, lowest: int, public: int | None = None) -> bool:
    """Whether a card's number beside a claim is a declared one: `public` itself, or a range to a round number.

    The range begins with `lowest`, or, where nothing is `public`, with any round number.
    """
    found = _RANGE.fullmatch(str(number))
    if found is None:
        return public is not None and number == public
    low, high = map(int, found.groups())
    return is_round(high) and (low == lowest or (public is None and is_round(low)))


def _tried_votes(claim: ClaimFields) -> bool:
    """Whether the self-test tried votes, as a round of a training can have them."""
    return CANDIDATES[0] <= claim.self_test.own_width.dimension <= CANDIDATES[1]


def _study_faults(claim: ClaimFields) -> list[str]:
    """A study of several sites: its noise is the claim's, and its second figure follows from it."""
    terms = claim.study
    if terms is None:
        return []
    found: list[str] = []
    if (claim.mechanism, claim.unit) != ("dp-sgd", "patient"):
        found.append("a study of several sites is dp-sgd, and its unit is the patient")
    if claim.composition is not None:
        found.append("composition is null in a study: no ledger holds what all sites trained")
    try:
        noise = terms.noise(q=claim.sampling.q, steps=claim.steps)
    except (ValueError, ArithmeticError) as error:
        return [*found, f"study: {error}"]
    if claim.sigma != noise.against_outsiders.sigma:
        found.append(f"sigma is {claim.sigma!r}, the study's noise is {noise.against_outsiders.sigma!r}")
    least, most = epsilons.stated_range([noise.against_sites], delta=claim.delta)
    if not least <= terms.epsilon_against_sites <= most:
        found.append(
            f"study.epsilon_against_sites is {terms.epsilon_against_sites:g}, the study's noise gives"
            f" {noise.epsilon(noise.against_sites, delta=claim.delta):g}"
        )
    return found


def _delta_fault(claim: ClaimFields) -> str | None:
    most = largest_delta(claim.n_public)
    if claim.delta <= most:
        return None
    reason = "the largest of any claim" if most == MAX_DELTA else "1/(10 n_public)"
    return f"delta {claim.delta:g} is above {most:g}, {reason}"


def _wrong_figures(claim: ClaimFields) -> list[str]:
    actual = claim.curve
    if not rdp.supports(claim.rdp, actual):
        return ["rdp is not the curve of this mechanism, sigma, steps and sampling rate"]
    if fault := _accounting_fault(claim, actual):
        return [fault]
    lineage = claim.composition
    if lineage is None:
        return []
    total = rdp.unstate(lineage.rdp)
    if any(whole < part for whole, part in zip(total, rdp.unstate(claim.rdp), strict=True)):
        return ["composition.rdp is below the curve of this training alone"]
    if lineage.parameters is not None:
        fault = _total_fault(claim, lineage, lineage.parameters)
    else:
        fault = _epsilon_fault("composition.epsilon", lineage.epsilon, total, claim.delta)
    return [fault] if fault else []


def _total_fault(claim: ClaimFields, total: Composition, trainings: tuple[Parameters, ...]) -> str | None:
    """The site's total against the trainings that it lists, this one among them."""
    own = claim.parameters[0]
    if not any((item.q, item.sigma) == (own.q, own.sigma) and item.steps >= own.steps for item in trainings):
        return "composition.mechanisms is without this training"
    curve = rdp.compose(rdp.gaussian_curve(q=q, sigma=sigma, steps=steps) for q, sigma, steps in trainings)
    if not rdp.supports(total.rdp, curve):
        return "composition.rdp is not the curve of composition.mechanisms"
    least, most = epsilons.stated_range(trainings, delta=claim.delta)
    if least <= total.epsilon <= most:
        return None
    return f"composition.epsilon is {total.epsilon:g}, its trainings give {most - epsilons.LAST_DIGIT:g}"


def _accounting_fault(claim: ClaimFields, actual: Curve) -> str | None:
    """Both epsilons against the parameters, the smaller one, and the accountant that it is named after."""
    if fault := _epsilon_fault("epsilon_rdp", claim.epsilon_rdp, actual, claim.delta):
        return fault
    if claim.epsilon_pld is not None:
        stated = epsilons.publish(epsilons.loss_epsilon(claim.parameters, delta=claim.delta))
        if (
            not loss_distribution.epsilon_of(claim.parameters, delta=claim.delta)
            <= claim.epsilon_pld
            <= stated + epsilons.LAST_DIGIT
        ):
            return f"epsilon_pld is {claim.epsilon_pld:g}, its parameters give {stated:g}"
    name, epsilon = epsilons.choose(claim.epsilon_rdp, claim.epsilon_pld, q=claim.sampling.q)
    if claim.epsilon != epsilon:
        return f"epsilon is {claim.epsilon:g}, the smaller of its two figures is {epsilon:g}"
    said = claim.accountant.name
    return None if said == name else f"accountant.name is {said}, epsilon is that of {name}"


def _epsilon_fault(name: str, stated: float, curve: Curve, delta: float) -> str | None:
    actual = rdp.epsilon_of(curve, delta=delta)
    if actual <= stated <= rdp.publish_epsilon(actual) + epsilons.LAST_DIGIT:
        return None
    return f"{name} is {stated:g}, its parameters give {rdp.publish_epsilon(actual):g}"
