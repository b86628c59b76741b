"""The privacy claim of a release: one and the same in header, card and statement, and nowhere told away. Pure.

That a claim's figures follow from its parameters was found out when it was read (`embhub.privacy.claim`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from embhub.artifact.embedding import Embedding
from embhub.audits.report import AuditReport
from embhub.cards.card_schema import Card
from embhub.privacy.claim_or_none import UncheckableClaimError, UnsupportedClaimError, is_claim, parse_claim
from embhub.refusals import BrokenClaimError, ClaimMismatchError, Finding
from embhub.trust.statement import Publish

if TYPE_CHECKING:
    from embhub.privacy.claim import Claim, PrivacyClaim
    from embhub.site.builds import Installed

BUILD = "build"
_HINT = "the publisher has to correct it and sign a new version; do not use this one"


def check_claim(card: Card, *, embedding: Embedding, publish: Publish) -> Finding:
    """The privacy claim as header, card and statement make it.

    Raises:
        ClaimMismatchError: they make different ones, or the card tells numbers that the claim rests on not telling.
        BrokenClaimError: the statement's claim does not follow from its own parameters, or its self-test is of
        another file.
    """
    try:
        signed: Claim = parse_claim(publish.privacy)
    except UncheckableClaimError as error:
        raise ClaimMismatchError(f"the statement's claim cannot be checked: {error.message}", _HINT) from error
    except UnsupportedClaimError as error:
        raise BrokenClaimError(f"in the statement: {error.message}", _HINT) from error
    if not embedding.privacy == card.privacy == signed:
        raise ClaimMismatchError("header, card and statement make different privacy claims", _HINT)
    if told := told_numbers(card):
        raise ClaimMismatchError(told[0], _HINT)
    if is_claim(signed) and not embedding.derived_from:
        _check_width(signed, embedding)
    found = say(embedding.privacy)
    if is_claim(signed) and embedding.derived_from is not None:
        return Finding(
            found.check, found.outcome, f"of the training of the source, not of a training of its own: {found.text}"
        )
    return found


def _check_width(claim: PrivacyClaim, embedding: Embedding) -> None:
    held = sum(values.size for values in embedding.tensors.values())
    if claim.self_test.own_width.dimension > held:
        raise BrokenClaimError(f"its self-test tried more numbers than the {held:,} that the file holds", _HINT)


def say(claim: Claim) -> Finding:
    """A claim as a remark for a person."""
    if not is_claim(claim):
        return Finding("privacy", "note", "privacy claim: none. No guarantee bounds what it reveals about a patient")
    return Finding("privacy", "warning" if claim.is_weak else "ok", " ".join(claim.words()))


def say_build(claim: Claim, *, known: Mapping[str, str], running: Installed | None) -> tuple[Finding, ...]:
    """Whether the build that a claim states is one that is known here; it decides nothing and proves nothing.

    Args:
        claim: the claim; the word none has no build.
        known: the digests of released wheels, by version.
        running: the build that runs here; None where nobody looked.
    """
    if not is_claim(claim):
        return ()
    from embhub.privacy import wording

    build = claim.build
    if build is None:
        return (Finding(BUILD, "note", "unknown build: the claim does not state which build of embhub trained it"),)
    which = "unknown build"
    if build.kind == "wheel" and build.digest == known.get(build.version):
        which = "known build, a released one"
    elif build.kind == "wheel" and (build.version, build.kind, build.digest) == running:
        which = "known build, the one that runs here"
    told = f"{which}: by the claim it was {wording.describe_build(build)}. {wording.NO_PROOF}"
    return (Finding(BUILD, "note", told),)


def refuted(claim: Claim, report: AuditReport) -> str | None:
    """What an audit showed against a claim: a lower bound of epsilon above what the claim's mechanism allows.

    Only guesses of fair coins bound epsilon by a theorem. An audit of patients says nothing against a claim for
    single images, which promises patients less. The canaries of the mechanism share the 5 %; of other attacks only the
    headline counts, which was fixed beforehand.
    """
    if report.claim is not None and not (
        is_claim(claim) and (claim.epsilon, claim.delta) == (report.claim.epsilon, report.claim.delta)
    ):
        return "the audit tried the mechanism of another privacy claim than the embedding makes"
    if not is_claim(claim) or (claim.unit, report.unit) == ("image", "patient"):
        return None
    from embhub.privacy import epsilon as epsilons

    results = [report.headline_result] if report.claim is None else report.attacks
    for coins in [result.coins for result in results if result.coins is not None]:
        if not 0 < coins.delta < 1:
            continue
        allowed = epsilons.publish(epsilons.compose(claim.parameters, delta=coins.delta))
        if coins.lower_bound > allowed:
            return (
                f"the audit shows an epsilon of at least {coins.lower_bound:g} (delta {coins.delta:g}), with a"
                f" confidence of 95 %, and the privacy claim allows {allowed:g}"
            )
    return None


def exposed(claim: Claim, report: AuditReport) -> str | None:
    """Figures of patients beside a privacy claim: they are a release of their own, and no budget covers it."""
    if not is_claim(claim) or report.unit == "canary":
        return None
    return (
        f"the audit report holds figures of the {report.unit}s themselves, which the privacy claim does not cover:"
        " keep it, and publish that of `embhub audit FILE --suite mechanism`"
    )


OF_GENERATED = re.compile("share of generated images (taken for real|that show: [^;,.]+)")
"""Metrics of a reader study that are of generated images alone. A claim covers them, and no other figure, where the
real images of the study are of other patients."""

COUNTED = re.compile(r"\d[\d,]* of \d[\d,]* (images|patients)")
"""Counts that earlier versions wrote into the field preprocessing."""


def told_numbers(card: Card) -> list[str]:
    """Exact figures on the card of a private release: with them, one patient more or less would show without an attack.

    A number declared beforehand is none: n_public, the cap on images, a range with round ends. An evaluation's figures
    are of patients under test, and who is tested on is not trained on.
    """
    claim = card.privacy
    if not is_claim(claim):
        return []
    from embhub.privacy.contradictions import is_declared

    units, cap = claim.n_public, claim.max_images_per_unit
    told = []
    if claim.unit == "patient" and not is_declared(card.n_patients, lowest=units, public=units):
        told.append(
            f"n_patients is {card.n_patients}; with a privacy claim it is the claim's n_public, {units}, or a range"
            f" from {units} to a round number"
        )
    if claim.unit == "patient" and not is_declared(card.n_images, lowest=units):
        told.append(f"n_images is {card.n_images}; with a privacy claim it is a range with round ends such as"
                    f' "{units}-{10 * units}"')  # fmt: skip
    if claim.unit == "patient" and card.max_images_per_patient != cap:
        told.append(
            f"max_images_per_patient is {card.max_images_per_patient}; with a privacy claim it is the cap, {cap}"
        )
    if claim.unit == "image" and not is_declared(card.n_images, lowest=units, public=units):
        told.append(
            f"n_images is {card.n_images}; with a privacy claim it is the claim's n_public, {units}, or a range from"
            f" {units} with a round upper end"
        )
    for name in ("n_patients", "max_images_per_patient") if claim.unit == "image" else ():
        if not is_declared(getattr(card, name), lowest=1):
            told.append(
                f"{name} is {getattr(card, name)}; with a privacy claim for images it is a range with round ends such"
                ' as "1-50", since one image more or less can change it'
            )
    population = card.population
    if population is not None and (population.age_bands or population.sex):
        told.append("population counts people in age_bands or sex; with a privacy claim these are left out")
    if COUNTED.search(card.preprocessing):
        told.append("preprocessing counts training images or patients; with a privacy claim these are left out")
    if not all(OF_GENERATED.fullmatch(one.metric) for one in card.evaluation):
        told.append(
            "evaluation has exact figures that the privacy claim does not cover: remove them from the card, and publish"
            " them rounded with `embhub evaluate --publish-to`"
        )
    return told
