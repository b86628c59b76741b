"""What a verdict means, what it does not mean and what to do, in words for somebody who answers for patients."""

from __future__ import annotations

from typing import NamedTuple

from embhub.audits.report import AuditReport
from embhub.audits.verdict import FEWEST_PATIENTS
from embhub.pages.messages import ENGLISH, Language, Value, figure, mark, message

TITLES = {
    "leak-detected": mark("Leak detected"),
    "no-leak-detected": mark("No leak detected"),
    "insufficient-evidence": mark("Insufficient evidence"),
    "bounded-by-claim": mark("Bounded by the claim"),
}
# Each verdict: what it means, what it does not mean, and advice, which stays at the audit's own page.
_PATIENTS = {
    "leak-detected": (
        mark(
            "An attacker who holds a person's image and this embedding can determine, better than by guessing, whether"
            " {the_unit} was in the training set. Membership by itself can reveal something about a person's health."
        ),
        mark("It does not mean that images can be extracted from the embedding: {readout}."),
        "Do not publish this embedding as it is. More {unit}s, fewer vectors or fewer steps reduce leakage. Audit "
        "again afterwards.",
    ),
    "no-leak-detected": (
        mark(
            "The same training was repeated on random halves of those audited. For each attack on these repetitions, a"
            " leak with an AUC of {auc_bound} or more is ruled out with 95 % confidence. So is a true-positive rate of"
            " {tpr_bound}% or more at a false-positive rate of 1 %. An attack on the file itself does not rule out"
            " a leak."
        ),
        mark(
            "It does not mean that nothing leaks. A leak below these bounds may exist, and attacks that were not run"
            " may find more. The result makes the embedding neither harmless nor lawful to release."
        ),
        "Consider it together with the card's description of the data. Audit again when a stronger attack is "
        "published, after another release on the same {unit}s, or after twelve months.",
    ),
    "insufficient-evidence": (
        mark("The attacks that were run found no leak. This is weak evidence, for the reasons given above."),
        mark("It does not mean that the embedding is safe. Not finding a leak is not evidence of safety."),
        "A clean verdict is within reach of {fewest} {unit}s, trained on and held out together: use --suite standard.",
    ),
}
_MECHANISM = {
    "leak-detected": (
        mark(
            "The code that adds privacy noise failed: made-up vectors or patients could be distinguished better than"
            " the claimed ε allows."
        ),
        mark("It does not show which patients can be identified. The claim is invalid for all of them."),
        "Publish nothing that was trained with this installation, and report a security bug.",
    ),
    "bounded-by-claim": (
        mark(
            "The code that adds privacy noise was run on made-up vectors or patients, with the parameters of this file."
            " What could be inferred about them is within what the claim allows."
        ),
        mark(
            "It tests the installation that made this report, which tested itself. It does not attack the file, and it"
            " does not show how the file was trained. No patient's image was read for it, so this report reveals"
            " nothing about a patient."
        ),
        "Run the same suite on an installation that you trust, and base the decision on the claim. To see what attacks "
        "would find, train with the same settings on images of other people, and audit that with --suite standard.",
    ),
    "insufficient-evidence": _PATIENTS["insufficient-evidence"],
}
_THE_UNIT = {"image": message("the image"), "canary": message("the canary")}


class Explanation(NamedTuple):
    """One sentence or a few each, plain text."""

    means: str
    means_not: str
    advice: str


def explain(report: AuditReport, language: Language = ENGLISH) -> Explanation:
    """The verdict of a report in words.

    Args:
        report: the audit report.
        language: what the words are in; the advice is in English only.
    """
    words = _MECHANISM if report.suite == "mechanism" or report.verdict == "bounded-by-claim" else _PATIENTS
    facts = _facts(report)
    return Explanation(*(language.say(text, **facts) for text in words[report.verdict]))


def describe_deciding(report: AuditReport) -> str:
    """The attack that decided, its AUC, and its p-value beside the one that would be a detection."""
    result = report.deciding_result
    low, high = result.auc_interval
    digits = 3 if result.on_coins else 2
    text = f"{result.name}: AUC {result.auc:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    if report.deciding.limit is None:
        return text
    return f"{text}, p-value {result.shown_p_value} (a detection from {report.deciding.limit:.2g} down)"


def describe_attempt(report: AuditReport) -> str:
    """Which audit of this file it was, by the site's ledger."""
    if report.attempt is None:
        return "not in a ledger"
    text = f"audit {report.attempt.number} of {report.attempt.count} of this file"
    if report.design.shadows and report.attempt.cohort > 1:
        text += f", number {report.attempt.cohort} with shadows of this recipe"
    return text


def plural(unit: str) -> str:
    """Of what a score stands for."""
    return {"canary": "canaries"}.get(unit, f"{unit}s")


def _facts(report: AuditReport) -> dict[str, Value]:
    drawn = "extraction" in report.tried
    tested, untested = message("this was tested only by generating 32 images"), message("this was not tested")
    return {
        "unit": report.unit,
        "the_unit": _THE_UNIT.get(report.unit, message("the patient")),
        "readout": tested if drawn else untested,
        "auc_bound": figure(report.design.bounds.auc, ".2f"),
        "tpr_bound": figure(report.design.bounds.tpr * 100, ".0f"),
        "fewest": str(FEWEST_PATIENTS),
    }
