"""What a verdict means, what it does not mean and what to do, in words for somebody who answers for patients."""

from __future__ import annotations

from typing import NamedTuple

from embhub.audits.report import AuditReport
from embhub.audits.verdict import FEWEST_UNITS

TITLES = {
    "leak-detected": "Leak detected",
    "no-leak-detected": "No leak detected",
    "insufficient-evidence": "Insufficient evidence",
}
_PATIENTS = {
    "leak-detected": (
        "Somebody who holds an image of a patient and this embedding can tell, better than by guessing, whether the "
        "{unit} was in the training set. Having been in it can itself tell something about a person's health.",
        "It does not mean that images can be read out of the embedding: {readout}.",
        "Do not publish this embedding as it is. More {unit}s, fewer vectors or fewer steps leak less; audit again.",
    ),
    "no-leak-detected": (
        "A leak of AUC {auc_bound:.2f}, or one that finds {tpr_bound:.0%} of the {unit}s trained on at 1 % false "
        "alarms, is ruled out for each attack below with 95 % confidence.",
        "It does not mean that nothing leaks: a leak smaller than the bounds may be there, and attacks that were not "
        "tried may see more. It makes the embedding neither harmless nor lawful to release.",
        "Weigh it together with what the card says of the data. Audit again when a stronger attack is published, after "
        "another release on the same {unit}s, or after twelve months.",
    ),
    "insufficient-evidence": (
        "The attacks that were run found nothing, and that shows little. Why is said above.",
        "It does not mean that the embedding is safe. Finding nothing here is not evidence of safety.",
        "Keep at least {fewest} {unit}s out of training, better 300, and run the audit with --suite standard.",
    ),
}
_MECHANISM = {
    "leak-detected": (
        "The code that is to hide each patient in noise did not do so: vectors or patients made up for the test "
        "could be told apart better than the claimed ε allows.",
        "It does not say which patients can be told; the claim is wrong for all of them.",
        "Publish nothing that this installation trained, and report a security bug.",
    ),
    "insufficient-evidence": (
        "The code that hides each patient in noise was run on vectors or patients made up for the test, with the "
        "parameters of this file. What could be told of them is within what the claim allows.",
        "It tries the installation that made this report, and that one tested itself: it does not attack the file, "
        "and it does not show how the file was trained. No image of a patient was read for it, so this report tells "
        "nothing of a patient.",
        "Run the same suite on an installation that you trust, and decide from the claim. To see what attacks find, "
        "train alike on images of other people, and audit that with --suite standard.",
    ),
}


class Explanation(NamedTuple):
    """One sentence or a few each, plain text."""

    means: str
    means_not: str
    advice: str


def explain(report: AuditReport) -> Explanation:
    """The verdict of a report in words."""
    words = _MECHANISM if report.suite == "mechanism" else _PATIENTS
    facts = _facts(report)
    return Explanation(*(text.format(**facts) for text in words[report.verdict]))


def describe_deciding(report: AuditReport) -> str:
    """The attack that decided, its AUC, and its p-value beside the one that would be a detection."""
    result = report.deciding_result
    low, high = result.auc_interval
    text = f"{result.name}: AUC {result.auc:.3f} [{low:.3f}, {high:.3f}]"
    if report.deciding.limit is None:
        return text
    return f"{text}, p = {result.p_value:.2g} (a detection from {report.deciding.limit:.2g} down)"


def describe_attempt(report: AuditReport) -> str:
    """Which audit of this file it was, by the site's ledger."""
    if report.attempt is None:
        return "not in a ledger"
    return f"audit {report.attempt.number} of {report.attempt.count} of this file"


def plural(unit: str) -> str:
    """Of what a score stands for."""
    return {"canary": "canaries"}.get(unit, f"{unit}s")


def _facts(report: AuditReport) -> dict[str, object]:
    drawn = any(result.name == "extraction" for result in report.attacks)
    return {
        "unit": report.unit,
        "readout": "of that, only drawing 32 images was tried" if drawn else "that was not tried",
        "auc_bound": report.design.bounds.auc,
        "tpr_bound": report.design.bounds.tpr,
        "fewest": FEWEST_UNITS,
    }
