"""A privacy claim in the two or three sentences of page one, of the pack and of the intake sheet. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from embhub.evidence.document import Privacy
from embhub.pages.messages import ENGLISH, Day, Figure, Language, count, counted, figure, mark, message
from embhub.privacy.wording import PER_IMAGE, PER_PATIENT


class Part(NamedTuple):
    """A piece of an answer; `strong` where it is set in bold, `english` where it is so in every language."""

    text: str
    strong: bool = False
    english: bool = False


_FOR_PATIENTS = mark(
    "(differential privacy, epsilon {epsilon}, delta {delta}, for each patient): {person}. What finding, hospital and"
    " years give away by themselves is not bounded. The guarantee holds if training ran as the publisher states."
)
_FOR_IMAGES = mark(
    "(differential privacy, epsilon {epsilon}, delta {delta}, for each image): {person}. What finding, hospital and"
    " years give away by themselves is not bounded. The guarantee holds if training ran as the publisher states. A"
    " patient with several images has less protection."
)
PORTED = mark(
    "This file is a port: the guarantee is its source's, and holds only if the port's publisher learned from images"
    " generated with the source and from nothing else."
)
_AGAINST_SITES = mark(
    "Several sites trained it together. This epsilon holds against everybody who is none of them. For patients of the"
    " others, against one of these sites, epsilon is {epsilon}. A patient at two sites counts as two."
)
_TOGETHER_PATIENTS = mark("With this site's other trainings on these patients, epsilon is {epsilon}.")
_TOGETHER_IMAGES = mark("With this site's other trainings on these images, epsilon is {epsilon}.")
_NONE_FOR_PATIENTS = mark("There is no guarantee for all of this site's trainings on these patients together:")
_NONE_FOR_IMAGES = mark("There is no guarantee for all of this site's trainings on these images together:")
_SITE_TOTAL_PATIENTS = mark(
    "As of {day} the training site counts {trainings} trainings with differential privacy, by the file's claim: for a"
    " patient in all of them, epsilon is {epsilon}."
)
_SITE_TOTAL_IMAGES = mark(
    "As of {day} the training site counts {trainings} trainings with differential privacy, by the file's claim: for an"
    " image in all of them, epsilon is {epsilon}."
)


def guarantee(privacy: Privacy, language: Language = ENGLISH) -> tuple[Part, ...]:
    """The claim in two or three sentences.

    Args:
        privacy: the claim, recomputed.
        language: what the sentences are in.
    """
    say = language.say
    if privacy.epsilon is None or not isinstance(privacy.claim, dict):
        text = say(
            "It was trained without differential privacy, so there is no mathematical bound on what it reveals about a"
            " patient. The audit is the only evidence. An audit can find a leak; it cannot rule one out."
        )
        return Part(say("No."), strong=True), Part(text)
    epsilon = figure(privacy.epsilon, "g")
    if privacy.refuted:
        contradicted = say("An epsilon of {epsilon} is claimed, and this audit contradicts it:", epsilon=epsilon)
        return Part(say("No."), strong=True), Part(contradicted), Part(f"{privacy.refuted}.", english=True)
    yes = say("Yes, but a weak one") if privacy.weak else say("Yes, of a stated size")
    return Part(yes, strong=True), Part(_bound(privacy, privacy.claim, language)), *_of_all(privacy, language)


def against_sites(privacy: Privacy) -> float | None:
    """The larger figure of a study of several sites; None for a training of one."""
    study = privacy.claim.get("study") if isinstance(privacy.claim, dict) else None
    return study["epsilon_against_sites"] if study else None


def per_hundred(share: float) -> str:
    """A chance in per cent, rounded up to a tenth: it is a bound."""
    tenths = -int(-share * 1000 // 1)
    return f"{tenths / 10:g}"


def _bound(privacy: Privacy, claim: dict[str, Any], language: Language) -> str:
    of_images = claim["unit"] == "image"
    middle = next(limit for limit in privacy.limits if limit.named_without == 0.01)
    text = language.say(
        _FOR_IMAGES if of_images else _FOR_PATIENTS,
        epsilon=figure(privacy.epsilon or 0, "g"), delta=figure(privacy.delta or 0, "g"),
        person=message(
            PER_IMAGE if of_images else PER_PATIENT, rate=Figure("1"),
            most=Figure(per_hundred(middle.named_with_at_most)),
        ),
    )  # fmt: skip
    if privacy.ported:
        text = f"{text} {language.say(PORTED)}"
    if (larger := against_sites(privacy)) is not None:
        text = f"{text} {language.say(_AGAINST_SITES, epsilon=figure(larger, 'g'))}"
    total = _site_total(privacy)
    if total is not None and total["trainings"] > 1:
        said = language.say(
            _SITE_TOTAL_IMAGES if of_images else _SITE_TOTAL_PATIENTS,
            day=Day(total["as_of"]), trainings=count(total["trainings"]), epsilon=figure(total["epsilon"], "g"),
        )  # fmt: skip
        text = f"{text} {said}"
    if privacy.together_epsilon is None:
        return text
    together = _TOGETHER_IMAGES if of_images else _TOGETHER_PATIENTS
    return f"{text} {language.say(together, epsilon=figure(privacy.together_epsilon, 'g'))}"


def _site_total(privacy: Privacy) -> dict[str, Any] | None:
    """What the claim counts of the site that trained; None where this site's own ledger knows those in the training."""
    return privacy.claim.get("composition") if isinstance(privacy.claim, dict) and privacy.ledger is None else None


def _of_all(privacy: Privacy, language: Language) -> tuple[Part, ...]:
    """That nothing bounds all trainings together, where the ledger or, without one, the claim says so."""
    if (total := _site_total(privacy)) is not None and total["plain"]:
        none = language.say("There is no guarantee for all of the training site's trainings together:")
        plain = counted(
            "by the file's claim, {number} other training or published audit was made without differential privacy.",
            "by the file's claim, {number} other trainings or published audits were made without differential privacy.",
            total["plain"],
        )
        return Part(none, strong=True), Part(language.say(plain))
    if privacy.ledger is None or privacy.ledger.epsilon is not None or not isinstance(privacy.claim, dict):
        return ()
    none = _NONE_FOR_IMAGES if privacy.claim["unit"] == "image" else _NONE_FOR_PATIENTS
    why = language.say("one of them, or a published audit, was made without differential privacy.")
    return Part(language.say(none), strong=True), Part(why)
