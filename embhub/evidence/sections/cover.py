"""Page one of the pack: what is to be decided, and the six answers that a decision needs, in plain words. Pure.

Every sentence goes through `language.say`, which knows it in other languages. Sentences about patients and about images
are separate ones: other languages inflect the words around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from embhub.audits.attack_figures import shown_p_value
from embhub.audits.explanation import TITLES, Explanation
from embhub.audits.verdict import BLIND
from embhub.evidence.document import Audit, Evidence
from embhub.evidence.sections import regulation
from embhub.evidence.sections.concerns import Concern
from embhub.evidence.sections.guarantee import Part, guarantee
from embhub.pages.messages import ENGLISH, Day, Figure, Language, Message, count, counted, figure, mark, message
from embhub.release.files import SAMPLES

VERDICTS = {
    "leak-detected": mark(
        "An attack could infer who was in the training data. This speaks against releasing the file as it is."
    ),
    "insufficient-evidence": mark(
        "The audit was too small or too weak to reach a conclusion. It is no evidence of safety."
    ),
    "no-leak-detected": mark(
        "The same training was repeated on random halves of those audited. For each attack on these"
        " repetitions, a leak as large as the bounds set in advance is ruled out with 95 % confidence. An attack on the"
        " file itself does not rule out a leak. Smaller leaks and other attacks remain possible."
    ),
    "bounded-by-claim": mark(
        "The code that adds privacy noise was tested on made-up data, and what could be guessed is within what the"
        " privacy claim allows. The file was not attacked: the claim is the evidence."
    ),
}
_IN_A_HEADING = {
    "leak-detected": message("leak detected"),
    "insufficient-evidence": message("insufficient evidence"),
    "no-leak-detected": message("no leak detected"),
    "bounded-by-claim": message("bounded by the claim"),
}
_POSSIBLE = {
    True: ("leak-detected", "bounded-by-claim"),  # of a test of the code
    False: ("leak-detected", "insufficient-evidence", "no-leak-detected"),
}
MOST_CONCERNS = 6


class Answer(NamedTuple):
    """A question and its answer."""

    question: str
    parts: tuple[Part, ...]


class Meaning(NamedTuple):
    """What a verdict means; `this` is the audit's own, `code` its name in files."""

    verdict: str
    text: str
    this: bool
    code: str


class Cover(NamedTuple):
    """What the template shows on page one beside the evidence itself."""

    title: str
    made: Day
    subject: str
    concerns: tuple[tuple[Part, ...], ...]
    more_concerns: int
    heading: str
    words: Explanation
    answers: tuple[Answer, ...]
    meanings: tuple[Meaning, ...]
    not_advice: str


def gather(
    evidence: Evidence, words: Explanation, *, concerns: Sequence[Concern] | None = None, language: Language = ENGLISH
) -> Cover:
    """The facts of page one.

    Args:
        evidence: what the pack says, in English.
        words: what the verdict means, in the language.
        concerns: those of the evidence, for another language than English.
        language: what page one is in.
    """
    listed: list[tuple[Part, ...]] = [(Part(text),) for text in evidence.concerns]
    if concerns is not None:
        listed = [_show_concern(concern, language) for concern in concerns]
    return Cover(
        title=title(evidence),
        made=Day(evidence.made[:10]),
        subject=_describe_subject(evidence, language),
        concerns=tuple(listed[:MOST_CONCERNS]),
        more_concerns=max(0, len(listed) - MOST_CONCERNS),
        heading=_heading(evidence.audit, language),
        words=words,
        answers=_answers(evidence, language),
        meanings=tuple(
            Meaning(language.say(TITLES[verdict]), language.say(text), verdict == evidence.audit.verdict, verdict)
            for verdict, text in VERDICTS.items()
            if verdict in _POSSIBLE[evidence.audit.suite == "mechanism"]
        ),
        not_advice=language.say(regulation.NO_ADVICE),
    )


def title(evidence: Evidence) -> str:
    """Name and version."""
    return f"{evidence.subject.name} {evidence.card.version or ''}".strip()


def _show_concern(concern: Concern, language: Language) -> tuple[Part, ...]:
    text = Part(language.say(concern.message))
    return (text, Part(f"{concern.detail}.", english=True)) if concern.detail else (text,)


def _heading(audit: Audit, language: Language) -> str:
    verdict = _IN_A_HEADING[audit.verdict]
    if audit.suite == "mechanism":
        return language.say("The audit of the code, not of the file: {verdict}", verdict=verdict)
    return language.say("The audit: {verdict}", verdict=verdict)


def _describe_subject(evidence: Evidence, language: Language) -> str:
    subject = evidence.subject
    rows = [
        language.say(
            counted(
                "{number} token embedding of {dim} numbers", "{number} token embeddings of {dim} numbers", row.count,
                dim=Figure(row.dim),
            )
        )
        for row in subject.rows
    ]  # fmt: skip
    return language.say(
        "The embedding is one file of {bytes} bytes: {rows}, learned from {source}. With it, an existing image"
        " generator ({base}) can generate what those images have in common. The file contains no image. Its numbers"
        " were still derived from patients' images, and these pages examine whether they reveal who those patients"
        " were. Once published, anyone can copy the file and analyse it indefinitely.",
        bytes=count(subject.bytes), rows=language.say(" and ").join(rows), source=_source(evidence), base=subject.base,
    )  # fmt: skip


def _source(evidence: Evidence) -> Message:
    claim, audit = evidence.privacy.claim, evidence.audit
    if isinstance(claim, dict):
        number = count(claim["n_public"])
        if claim["unit"] == "image":
            return message("at least {number} images of patients", number=number)
        return message("images of at least {number} patients", number=number)
    if evidence.card.patients:
        return message("images of {number} patients", number=Figure(evidence.card.patients))
    if audit.unit == "patient":
        return message("images of {number} patients, as far as the audit knows", number=count(audit.members))
    if audit.unit == "image":
        return message("{number} images of patients, as far as the audit knows", number=count(audit.members))
    return message("images of patients")  # an audit of canaries does not know how many


def _answers(evidence: Evidence, language: Language) -> tuple[Answer, ...]:
    audit, say = evidence.audit, language.say
    again = say(
        "On {day} at the latest. Earlier if a stronger attack is published, if another embedding is trained on the same"
        " patients, or if the base model changes.",
        day=Day(evidence.audit_again_by),
    )
    return (
        Answer(say("Can an attacker find out who was in the training data?"), _membership(audit, language)),
        Answer(say("How thorough was the audit?"), _effort(audit, language)),
        Answer(say("Is there a privacy guarantee?"), guarantee(evidence.privacy, language)),
        Answer(say("What leaves the hospital?"), (Part(_leaves(evidence, language)),)),
        Answer(say("Which attacks were not tested?"), (Part(_untested(evidence, language)),)),
        Answer(say("When is the next audit due?"), (Part(again),)),
    )


def _membership(audit: Audit, language: Language) -> tuple[Part, ...]:
    deciding = next(figures for figures in audit.attacks if figures.name == audit.deciding.attack)
    if audit.suite == "mechanism":
        text = language.say(
            "This audit did not attack the file. It tested the code that the guarantee below depends on."
        )
        return (Part(text),)
    low, high = (figure(share * 100, ".0f") for share in deciding.auc_interval)
    pick = _PICKS_IMAGE if audit.unit == "image" else _PICKS_PATIENT
    return (
        Part(language.say(pick, attack=deciding.name)),
        Part(language.say("{auc} times in a hundred", auc=figure(deciding.auc * 100, ".0f")), strong=True),
        Part(
            language.say(
                "(95 % confidence interval {low} to {high}). Guessing gives 50. The p-value is {p}; {limit} or less"
                " counts as a detection.",
                low=low, high=high, p=Figure(shown_p_value(deciding.p_value)),
                limit=figure(audit.deciding.limit or 0, ".2g"),
            )
        ),
    )  # fmt: skip


_PICKS_PATIENT = mark(
    "Given one patient who was in the training data and one who was not, the attack that decided the verdict"
    " ({attack}) picks the right one"
)
_PICKS_IMAGE = mark(
    "Given one image that was in the training data and one that was not, the attack that decided the verdict"
    " ({attack}) picks the right one"
)


def _effort(audit: Audit, language: Language) -> tuple[Part, ...]:
    if audit.suite == "mechanism":
        vectors = count(audit.members + audit.nonmembers)
        if not audit.coins:
            return (Part(language.say(_PASSED, vectors=vectors)),)
        bound = figure(audit.coins.lower_bound, ".2f")
        return (Part(language.say(_PASSED_AND_GUESSED, vectors=vectors, epsilon=bound)),)
    tried = [*(figures.name for figures in audit.attacks), *audit.found_nothing]
    number = len([name for name in tried if name != BLIND])
    models = max(figures.models for figures in audit.attacks)
    more = message(", and on {models} more embeddings trained with the same recipe", models=count(models))
    sides = {"members": count(audit.members), "nonmembers": count(audit.nonmembers)}
    tested = _ON_IMAGES if audit.unit == "image" else _ON_PATIENTS
    return (
        Part(
            language.say(
                tested, attacks=counted("{number} attack", "{number} attacks", number), suite=audit.suite,
                recipe=more if models > 1 else "", **sides,
            )
        ),
        Part(
            language.say("{auc} times in a hundred.", auc=figure(audit.power.smallest_auc * 100, ".0f")), strong=True
        ),
        Part(language.say("A smaller leak may have been missed.")),
    )  # fmt: skip


_PASSED = mark("{vectors} made-up vectors were passed through that code. No patient's image was read.")
_PASSED_AND_GUESSED = mark(
    "{vectors} made-up vectors were passed through that code; guessing which of them took part showed that epsilon is"
    " at least {epsilon}. No patient's image was read."
)
_ON_PATIENTS = mark(
    "{attacks} ({suite} suite) on {members} patients used for training and {nonmembers} held out{recipe}. The audit"
    " had 80 % power to detect an attack that is right"
)
_ON_IMAGES = mark(
    "{attacks} ({suite} suite) on {members} images used for training and {nonmembers} held out{recipe}. The audit had"
    " 80 % power to detect an attack that is right"
)


def _leaves(evidence: Evidence, language: Language) -> str:
    files = evidence.shipment.files
    later = message(", and those that are created on signing")
    sheet = message(" The sample sheet was generated, not taken from patients: look at it.")
    return language.say(
        "{files} files: {bytes} bytes{later}. Section 1 lists them one by one. By design, they contain no patient's"
        " image, patient ID, file name or digest of such an image.{sheet} The card is free text: read it.",
        files=count(len(files)), bytes=count(sum(row.bytes or 0 for row in files)),
        later=later if any(row.bytes is None for row in files) else "",
        sheet=sheet if SAMPLES in {row.name for row in files} else "",
    )  # fmt: skip


def _untested(evidence: Evidence, language: Language) -> str:
    rows = [row for row in evidence.coverage if row.status == "not tried" and row.source.startswith("EDPB")]
    return language.say(
        "Of the attacks that EDPB Opinion 28/2024 names: {names}. The full list is in section 4.",
        names=", ".join(language.say(row.family) for row in rows),
    )
