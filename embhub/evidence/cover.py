"""Page one of the pack: what is to be decided, and the six answers that a decision needs, in plain words. Pure."""

from __future__ import annotations

from typing import NamedTuple

from embhub.audits.explanation import TITLES, plural
from embhub.evidence.document import Audit, Evidence, Privacy
from embhub.privacy.wording import per_person
from embhub.release.files import SAMPLES

VERDICTS = {
    "leak-detected": "An attack could infer who was in the training data. This speaks against releasing the file as it"
    " is.",
    "insufficient-evidence": "The audit was too small or too weak to reach a conclusion, or did not attack the file. It"
    " is no evidence of safety.",
    "no-leak-detected": "For every attack that was run, a leak as large as the bounds set in advance is ruled out with"
    " 95 % confidence. Smaller leaks and other attacks remain possible.",
}
MOST_CONCERNS = 6


class Part(NamedTuple):
    """A piece of an answer; `strong` where it is set in bold."""

    text: str
    strong: bool = False


class Answer(NamedTuple):
    """A question and its answer."""

    question: str
    parts: tuple[Part, ...]


class Meaning(NamedTuple):
    """What a verdict means; `this` is the audit's own."""

    verdict: str
    text: str
    this: bool


class Cover(NamedTuple):
    """What the template shows on page one beside the evidence itself."""

    title: str
    subject: str
    concerns: tuple[str, ...]
    more_concerns: int
    heading: str
    answers: tuple[Answer, ...]
    meanings: tuple[Meaning, ...]


def gather(evidence: Evidence) -> Cover:
    """The facts of page one."""
    return Cover(
        title=title(evidence),
        subject=_describe_subject(evidence),
        concerns=evidence.concerns[:MOST_CONCERNS],
        more_concerns=max(0, len(evidence.concerns) - MOST_CONCERNS),
        heading=_heading(evidence.audit),
        answers=_answers(evidence),
        meanings=tuple(
            Meaning(TITLES[verdict], text, verdict == evidence.audit.verdict) for verdict, text in VERDICTS.items()
        ),
    )


def title(evidence: Evidence) -> str:
    """Name and version."""
    return f"{evidence.subject.name} {evidence.card.version or ''}".strip()


def _heading(audit: Audit) -> str:
    of_code = " of the code, not of the file" if audit.suite == "mechanism" else ""
    return f"The audit{of_code}: {TITLES[audit.verdict].lower()}"


def _describe_subject(evidence: Evidence) -> str:
    subject = evidence.subject
    rows = " and ".join(
        f"{row.count} token embedding{'s' if row.count > 1 else ''} of {row.dim} numbers" for row in subject.rows
    )
    return (
        f"The embedding is one file of {subject.bytes:,} bytes: {rows}, learned from images of {_patients(evidence)}."
        f" With it, an existing image generator ({subject.base}) can generate what those images have in common. The"
        " file contains no image. Its numbers were still derived from patients' images, and these pages examine whether"
        " they reveal who those patients were. Once published, anyone can copy the file and analyse it indefinitely."
    )


def _patients(evidence: Evidence) -> str:
    claim, audit = evidence.privacy.claim, evidence.audit
    if isinstance(claim, dict):
        return f"at least {claim['n_public']:,} {claim['unit']}s"
    if evidence.card.patients:
        return f"{evidence.card.patients} patients"
    return f"{audit.members:,} {plural(audit.unit)}, as far as the audit knows"


def _answers(evidence: Evidence) -> tuple[Answer, ...]:
    audit = evidence.audit
    return (
        Answer("Can an attacker find out who was in the training data?", _membership(audit)),
        Answer("How thorough was the audit?", _effort(audit)),
        Answer("Is there a privacy guarantee?", guarantee(evidence.privacy)),
        Answer("What leaves the hospital?", (Part(_leaves(evidence)),)),
        Answer("Which attacks were not tested?", (Part(_untested(evidence)),)),
        Answer("When is the next audit due?", (Part(_again(evidence)),)),
    )


def _membership(audit: Audit) -> tuple[Part, ...]:
    deciding = next(figures for figures in audit.attacks if figures.name == audit.deciding.attack)
    if audit.suite == "mechanism":
        return (Part("This audit did not attack the file. It tested the code that the guarantee below depends on."),)
    low, high = (f"{share * 100:.0f}" for share in deciding.auc_interval)
    who = "who" if audit.unit == "patient" else "that"
    return (
        Part(
            f"Given one {audit.unit} {who} was in the training data and one {who} was not, the attack that decided the"
            f" verdict ({deciding.name}) picks the right one"
        ),
        Part(f"{deciding.auc * 100:.0f} times in a hundred", strong=True),
        Part(
            f"(95 % confidence interval {low} to {high}). Guessing gives 50. The p-value is {deciding.p_value:.2g};"
            f" {audit.deciding.limit:.2g} or less counts as a detection."
        ),
    )


def _effort(audit: Audit) -> tuple[Part, ...]:
    attacks = [figures for figures in audit.attacks if figures.kind == "attack"]
    if audit.suite == "mechanism":
        shown = ""
        if audit.coins:
            shown = f"; guessing which of them took part showed that epsilon is at least {audit.coins.lower_bound:.2f}"
        vectors = f"{audit.members + audit.nonmembers:,} made-up vectors"
        return (Part(f"{vectors} were passed through that code{shown}. No patient's image was read."),)
    models = max(figures.models for figures in attacks)
    recipe = f", and on {models} more embeddings trained with the same recipe" if models > 1 else ""
    count = f"{len(attacks)} attack{'s' if len(attacks) > 1 else ''}"
    return (
        Part(
            f"{count} ({audit.suite} suite) on {audit.members:,} {plural(audit.unit)} used for training and"
            f" {audit.nonmembers:,} held out{recipe}. The audit had 80 % power to detect an attack that is right"
        ),
        Part(f"{audit.power.smallest_auc * 100:.0f} times in a hundred.", strong=True),
        Part("A smaller leak may have been missed."),
    )


def guarantee(privacy: Privacy) -> tuple[Part, ...]:
    """The claim in two or three sentences."""
    if privacy.epsilon is None or not isinstance(privacy.claim, dict):
        return (
            Part("No.", strong=True),
            Part(
                "It was trained without differential privacy, so there is no mathematical bound on what it reveals"
                " about a patient. The audit is the only evidence. An audit can find a leak; it cannot rule one out."
            ),
        )
    if privacy.refuted:
        contradicted = (
            f"An epsilon of {privacy.epsilon:g} is claimed, and this audit contradicts it: {privacy.refuted}."
        )
        return Part("No.", strong=True), Part(contradicted)
    unit = privacy.claim["unit"]
    middle = next(limit for limit in privacy.limits if limit.named_without == 0.01)
    person = per_person(unit, "1 %", f"{per_hundred(middle.named_with_at_most)} %")
    text = (
        f"(differential privacy, epsilon {privacy.epsilon:g}, delta {privacy.delta:g}, for each {unit}): {person}."
        " What finding, hospital and years give away by themselves is not bounded. The guarantee holds if training ran"
        " as the publisher states."
    )
    if unit == "image":
        text += " A patient with several images has less protection."
    if privacy.together_epsilon is not None:
        text += f" With this site's other trainings on these {unit}s, epsilon is {privacy.together_epsilon:g}."
    answer = (Part("Yes, but a weak one" if privacy.weak else "Yes, of a stated size", strong=True), Part(text))
    if privacy.ledger is None or privacy.ledger.epsilon is not None:
        return answer
    return (
        *answer,
        Part(f"There is no guarantee for all of this site's trainings on these {unit}s together:", strong=True),
        Part("one of them, or a published audit, was made without differential privacy."),
    )


def per_hundred(share: float) -> str:
    """A chance in per cent, rounded up to a tenth: it is a bound."""
    tenths = -int(-share * 1000 // 1)
    return f"{tenths / 10:g}"


def _leaves(evidence: Evidence) -> str:
    files = evidence.shipment.files
    there = sum(row.bytes or 0 for row in files)
    made = ", and those that are created on signing" if any(row.bytes is None for row in files) else ""
    sheet = (
        " The sample sheet was generated, not taken from patients: look at it."
        if SAMPLES in {row.name for row in files}
        else ""
    )
    return (
        f"{len(files)} files: {there:,} bytes{made}. Section 1 lists them one by one. By design, they contain no"
        " patient's image, patient ID, file name or digest of such an image."
        f"{sheet} The card is free text: read it."
    )


def _untested(evidence: Evidence) -> str:
    names = [row.family for row in evidence.coverage if row.status == "not tried" and row.source.startswith("EDPB")]
    return f"Of the attacks that EDPB Opinion 28/2024 names: {', '.join(names)}. The full list is in section 4."


def _again(evidence: Evidence) -> str:
    return (
        f"On {evidence.audit_again_by} at the latest. Earlier if a stronger attack is published, if another embedding"
        " is trained on the same patients, or if the base model changes."
    )
